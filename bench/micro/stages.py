"""The stages of `POST /v1/rank`, each as a function of no arguments over inputs that are made once. Times nothing.

A stage gets what the one before it would have handed over. Names are the lines of the benchmark's table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec

from app.api.v1.request_checks import RequestLimits
from app.api.v1.requests import ranking_request
from app.api.v1.responses import AnsweredBy, rank_answer
from app.api.v1.schemas import ModelName, RankBody
from app.http.decoding import decode
from app.ranking import ordering
from app.ranking.types import OrderedCandidates, Ranking
from app.settings import Settings
from bench.asks import make_asks
from model.artefact.model import Artefact
from model.catalogue.records import NamedRecords
from model.context.imputation import FilledContext

STAGES = ("decode", "ask", "fill", "propose", "gather", "context", "features", "score", "order", "encode")
CANDIDATES = 500
DEPTH = 32
_TIMINGS = ("parse", "records", "score", "rerank")

Stage = Callable[[], Any]


def stages(artefact: Artefact, candidates: int = CANDIDATES, seed: int = 0) -> dict[str, Stage]:
    """Every stage of one homepage request of a known user, or of what else the model knows."""
    body = _body(artefact, candidates, seed)
    limits = RequestLimits(Settings(), artefact.version, 0.0)
    decoded = decode(body, RankBody, DEPTH)
    asked = ranking_request(decoded, limits)
    context = replace(asked.context, history=artefact.history(asked.context.user_id or ""))
    ids, filled = list(asked.candidates or ()), artefact.fill(context)
    logits = artefact.catalogue.logits(artefact.catalogue.encode_context(filled), artefact.catalogue.rows_of(ids))
    places = ordering.by_score(logits)
    in_order = [ids[place] for place in places]
    ordered = OrderedCandidates(asked, filled, in_order, logits[places], [], [], len(ids), len(ids))
    return {
        "decode": partial(decode, body, RankBody, DEPTH),
        "ask": partial(ranking_request, decoded, limits),
        "fill": partial(artefact.fill, context),
        "propose": lambda: artefact.propose(artefact.encode_context(filled), candidates),
        **_network(artefact, filled, ids),
        "order": partial(ordering.by_score, logits),
        "encode": _encode(artefact, ordered),
    }


def _body(artefact: Artefact, candidates: int, seed: int) -> bytes:
    """The second of the bodies: a homepage, where the model has that task."""
    return make_asks(artefact, candidates, 2, seed).bodies[1]


def _network(artefact: Artefact, filled: FilledContext, ids: list[str]) -> dict[str, Stage]:
    """Records by id, the context made ready, match features, both for a chunk of candidates."""
    named = artefact.context_entities(filled.context)
    of_context, candidates = (artefact.records_at(artefact.find(part)).read() for part in (named, ids))
    encoded = artefact.encode_context(filled)
    gathered = NamedRecords(named, of_context)
    parts = (encoded.query, encoded.source, encoded.profile)
    return {
        "gather": lambda: artefact.records_at(artefact.find(ids)).read(),
        "context": lambda: artefact.prepare(artefact.encode_context(filled, gathered)),
        "features": partial(artefact.scorer.matcher.varying, *parts, candidates),
        "score": partial(artefact.prepare(encoded), candidates),
    }


def _encode(artefact: Artefact, ordered: OrderedCandidates) -> Stage:
    """Probabilities, answer, JSON."""
    entities: list[dict[str, object] | None] = [None] * len(ordered.entity_ids)
    by = AnsweredBy(ModelName(artefact.version, artefact.checksum), "request")

    def encode() -> bytes:
        scores = artefact.probability(ordered.request.context.task, ordered.logits).tolist()
        ranking = Ranking("ranking", ordered, 1, ordered.entity_ids, scores, entities, dict.fromkeys(_TIMINGS, 0.0))
        return msgspec.json.encode(rank_answer(ranking, by, 0.0))

    return encode
