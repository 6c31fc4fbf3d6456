"""Gathers the records of candidates, source and history in one call. Holds no record itself."""

from __future__ import annotations

from collections.abc import Sequence

from app.entities.store import EntityStore
from app.errors import Fault, InvalidRequestError
from app.execution.admission import AdmissionControl
from app.observability.metrics import Clock
from app.ranking.model import RankingModel
from app.ranking.ordering import without
from app.ranking.types import CandidateRecords, Candidates, RankingRequest

_MAX_FAULTS = 20


class RecordStage:
    """Candidates → CandidateRecords, before the deadline of the request."""

    def __init__(self, model: RankingModel, store: EntityStore, admission: AdmissionControl, clock: Clock) -> None:
        self._model = model
        self._store = store
        self._admission = admission
        self._clock = clock

    async def __call__(self, candidates: Candidates) -> CandidateRecords:
        """Gather the records. Raises `OverloadedError` if there is no time for most of them, `InvalidRequestError` if
        candidates are unknown and the request does not allow that.
        """
        request, entity_ids = candidates.imputed.request, candidates.entity_ids
        gathered = await self._store.gather(
            entity_ids,
            self._context_entities(candidates),
            self._gather_deadline(request.deadline, len(entity_ids)),
            request.priority,
        )
        if request.may_refuse and gathered.hopeless and len(gathered.late) > len(gathered.candidates):
            raise self._admission.records_refusal(request.priority)
        _check_known(request, gathered.unknown)
        known_ids = without(entity_ids, frozenset(gathered.unknown)) if gathered.unknown else entity_ids
        return CandidateRecords(candidates, gathered, known_ids)

    def _context_entities(self, candidates: Candidates) -> list[str]:
        """Source and history, if the context still has to be encoded."""
        return self._model.context_entities(candidates.imputed.filled.context) if candidates.encoded is None else []

    def _gather_deadline(self, deadline: float, candidates: int) -> float:
        """When to stop gathering, so that there is time left for scoring: as long as scoring all candidates takes, but
        at least a tenth and at most half of the remaining time.
        """
        left_s = max(0.0, deadline - self._clock())
        return deadline - min(max(candidates * self._admission.scoring.unit_s, left_s / 10), left_s / 2)


def _check_known(request: RankingRequest, unknown: Sequence[str]) -> None:
    if unknown and request.unknown in ("error", "score") and request.candidates is not None:
        code = "unknown_entity" if request.unknown == "error" else "not_supported"
        raise InvalidRequestError(*_unknown_faults(unknown, request, code))


def _unknown_faults(unknown: Sequence[str], request: RankingRequest, code: str) -> list[Fault]:
    ids = set(unknown)
    detail = "there is no entity '{}'" if code == "unknown_entity" else "'{}' has no record to score it from"
    return [
        Fault(f"{request.candidates_at}/{place}", code, detail.format(entity_id))
        for place, entity_id in enumerate(request.candidates or ())
        if entity_id in ids
    ][:_MAX_FAULTS]
