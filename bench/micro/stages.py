"""The stages of `POST /v1/rank`, each as a function without arguments on prepared inputs. Times nothing.

The input of a stage is the output of the previous one. Names are the rows of the benchmark's table.
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
from bench.request_set import make_requests
from model.artefact.model import Artefact
from model.catalogue.records import NamedRecords
from model.context.context import FilledContext

STAGES = ("decode", "ask", "fill", "propose", "gather", "context", "features", "score", "order", "encode")
CANDIDATES = 500
DEPTH = 32
_TIMINGS = ("parse", "records", "score", "rerank")

Stage = Callable[[], Any]


def stages(artefact: Artefact, candidates: int = CANDIDATES, seed: int = 0) -> dict[str, Stage]:
    """Every stage of one homepage request of a known user, or of another task if the model has no homepage."""
    body = _body(artefact, candidates, seed)
    limits = RequestLimits(Settings(), artefact.version, 0.0)
    decoded = decode(body, RankBody, DEPTH)
    request = ranking_request(decoded, limits)
    context = replace(request.context, history=artefact.history(request.context.user_id or ""))
    ids, filled = list(request.candidates or ()), artefact.fill(context)
    logits = artefact.catalogue.logits(artefact.catalogue.encode_context(filled), artefact.catalogue.rows_of(ids))
    places = ordering.by_score(logits)
    ordered_ids = [ids[place] for place in places]
    ordered = OrderedCandidates(request, filled, ordered_ids, logits[places], [], [], len(ids), len(ids))
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
    """The second body: a homepage request, if the model has that task."""
    return make_requests(artefact, candidates, 2, seed).bodies[1]


def _network(artefact: Artefact, filled: FilledContext, ids: list[str]) -> dict[str, Stage]:
    """Gathering records, preparing the context, match features, and the scores of a chunk of candidates."""
    context_ids = artefact.context_entities(filled.context)
    context_records, candidates = (artefact.records_at(artefact.find(part)).read() for part in (context_ids, ids))
    encoded = artefact.encode_context(filled)
    gathered = NamedRecords(context_ids, context_records)
    parts = (encoded.query, encoded.source, encoded.profile)
    return {
        "gather": lambda: artefact.records_at(artefact.find(ids)).read(),
        "context": lambda: artefact.prepare(artefact.encode_context(filled, gathered)),
        "features": partial(artefact.scorer.matcher.varying, *parts, candidates),
        "score": partial(artefact.prepare(encoded), candidates),
    }


def _encode(artefact: Artefact, ordered: OrderedCandidates) -> Stage:
    """The last stage: probabilities, answer, JSON."""
    entities: list[dict[str, object] | None] = [None] * len(ordered.entity_ids)
    by = AnsweredBy(ModelName(artefact.version, artefact.checksum), "request")

    def encode() -> bytes:
        scores = artefact.probability(ordered.filled.context, ordered.logits).tolist()
        seconds = dict.fromkeys(_TIMINGS, 0.0)
        ranking = Ranking("ranking", ordered, 1, ordered.entity_ids, scores, entities, seconds=seconds)
        return msgspec.json.encode(rank_answer(ranking, by, 0.0))

    return encode
