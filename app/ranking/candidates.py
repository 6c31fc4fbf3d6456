"""Chooses the candidates: those that the request names, or those that the model proposes. Scores nothing.

The retrievers of a model are in `model/retrieval/retrievers.py`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from app.execution.admission import AdmissionControl
from app.execution.worker_thread import WorkerThread
from app.observability.metrics import Clock
from app.ranking.model import RankingModel
from app.ranking.ordering import distinct, without
from app.ranking.rules.seen import SeenRule
from app.ranking.types import Candidates, ImputedRequest


@dataclass(frozen=True, slots=True)
class _Proposals:
    """The candidates that a model proposes, and the encoded context that it proposed them for."""

    encoded: Any
    entity_ids: list[str]


class CandidateStage:
    """ImputedRequest → Candidates. `retrieve_limit`: candidates to propose, unless the page needs more."""

    def __init__(
        self, model: RankingModel, worker: WorkerThread, admission: AdmissionControl, clock: Clock, retrieve_limit: int
    ) -> None:
        self._model = model
        self._worker = worker
        self._admission = admission
        self._clock = clock
        self._retrieve_limit = retrieve_limit

    async def __call__(self, imputed: ImputedRequest) -> Candidates:
        """The candidates of a request; none, marked `late`, where retrieval misses the deadline."""
        if imputed.request.candidates is not None:
            return self._from_request(imputed)
        try:
            async with asyncio.timeout(imputed.request.deadline - self._clock()):
                return await self._retrieve(imputed)
        except TimeoutError:
            return Candidates(imputed, [], late=True)

    def _from_request(self, imputed: ImputedRequest) -> Candidates:
        request, seen = imputed.request, imputed.seen
        entity_ids = without(distinct(request.candidates or ()), request.exclude | _source_of(imputed))
        seen_ids = seen.among(entity_ids, self._model.find)
        if seen.action == "drop":
            return Candidates(imputed, without(entity_ids, seen_ids))
        return Candidates(imputed, entity_ids, demoted=seen_ids)

    async def _retrieve(self, imputed: ImputedRequest) -> Candidates:
        """Seen entities to drop are excluded from retrieval, so that the page is still full."""
        request, seen = imputed.request, imputed.seen
        drop_rule = seen if seen.action == "drop" else SeenRule("keep")
        excluded = request.exclude | drop_rule.entity_ids | _source_of(imputed)
        proposals = await self._propose(imputed, excluded, drop_rule)
        entity_ids = without(distinct(proposals.entity_ids), excluded)
        demoted = seen.among(entity_ids, self._model.find) if seen.action == "demote" else frozenset[str]()
        return Candidates(imputed, entity_ids, demoted, encoded=proposals.encoded)

    async def _propose(self, imputed: ImputedRequest, excluded: frozenset[str], drop_rule: SeenRule) -> _Proposals:
        """Runs in the worker thread: searching a whole catalogue would block the event loop for too long."""
        request, load = imputed.request, self._admission.proposals

        def propose() -> _Proposals:
            encoded = self._model.encode_context(imputed.filled)
            limit = request.most_candidates(self._retrieve_limit)
            return _Proposals(encoded, self._model.propose(encoded, limit, excluded, drop_rule.rows))

        with load.one(request.priority):
            return await self._worker.run(lambda: load.timed(propose), request.priority)


def _source_of(imputed: ImputedRequest) -> frozenset[str]:
    """The source that the caller gave: it is never a candidate of itself."""
    source = imputed.request.context.source_entity_id
    return frozenset() if source is None else frozenset({source})
