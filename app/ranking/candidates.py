"""Stage 2: which entities are scored: those that the caller names, or what the model proposes. Scores nothing.

Which retrievers a model has is in `model/retrieval/retrievers.py`.
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
from app.ranking.types import DEFAULT_LIMIT, Candidates, ImputedRequest, RankingRequest


@dataclass(frozen=True, slots=True)
class _Proposals:
    """What a model proposes for a context that it has encoded."""

    encoded: Any
    entity_ids: list[str]


class CandidateStage:
    """ImputedRequest → Candidates. `retrieve_limit`: how many are proposed unless a page needs more."""

    def __init__(
        self, model: RankingModel, worker: WorkerThread, admission: AdmissionControl, clock: Clock, retrieve_limit: int
    ) -> None:
        self._model = model
        self._worker = worker
        self._admission = admission
        self._clock = clock
        self._retrieve_limit = retrieve_limit

    def count(self, request: RankingRequest) -> int:
        """How many candidates a request will have at most."""
        if request.candidates is not None:
            return len(request.candidates)
        return max(self._retrieve_limit, request.offset + (request.limit or DEFAULT_LIMIT))

    async def __call__(self, imputed: ImputedRequest) -> Candidates:
        """As far as there is time; who is out of time gets none."""
        if imputed.request.candidates is not None:
            return self._given(imputed)
        try:
            async with asyncio.timeout(imputed.request.deadline - self._clock()):
                return await self._retrieved(imputed)
        except TimeoutError:
            return Candidates(imputed, [], late=True)

    def _given(self, imputed: ImputedRequest) -> Candidates:
        request, seen = imputed.request, imputed.seen
        entity_ids = without(distinct(request.candidates or ()), request.exclude)
        met = seen.among(entity_ids, self._model.find)
        if seen.action == "drop":
            return Candidates(imputed, without(entity_ids, met))
        return Candidates(imputed, entity_ids, demoted=met)

    async def _retrieved(self, imputed: ImputedRequest) -> Candidates:
        """What is dropped is not even proposed, so that a page is filled all the same."""
        request, seen = imputed.request, imputed.seen
        source = request.context.source_entity_id
        dropped = seen if seen.action == "drop" else SeenRule("keep")
        excluded = request.exclude | dropped.entity_ids | ({source} if source is not None else set())
        proposals = await self._proposed(imputed, excluded, dropped)
        entity_ids = without(distinct(proposals.entity_ids), excluded)
        demoted = seen.among(entity_ids, self._model.find) if seen.action == "demote" else frozenset[str]()
        return Candidates(imputed, entity_ids, demoted, encoded=proposals.encoded)

    async def _proposed(self, imputed: ImputedRequest, excluded: frozenset[str], dropped: SeenRule) -> _Proposals:
        """In the worker thread: a whole catalogue takes longer than the event loop may be busy."""
        request, load = imputed.request, self._admission.proposals

        def propose() -> _Proposals:
            encoded = self._model.encode_context(imputed.filled)
            limit = self.count(request)
            return _Proposals(encoded, self._model.propose(encoded, limit, excluded, dropped.rows))

        with load.one(request.priority):
            return await self._worker.run(lambda: load.timed(propose), request.priority)
