"""Scores candidates in chunks until a deadline. Does not order them. C = candidates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from app.entities.tier import RecordBatch
from app.execution.admission import AdmissionControl, Priority
from app.execution.scheduler import Scheduler
from app.observability.metrics import Clock
from app.ranking.model import RankingModel
from app.ranking.types import CandidateRecords, Logits, ScoredCandidates

DEADLINE = "deadline"
SCORE_NOT_FINITE = "score_not_finite"
CHUNK = 512  # candidates between two checks of the clock

Score = Callable[[Any], Logits]  # records of candidates → their logits


class ScoreStage:
    """CandidateRecords → ScoredCandidates."""

    def __init__(self, model: RankingModel, scheduler: Scheduler, admission: AdmissionControl, clock: Clock) -> None:
        self._model = model
        self._scoring = Scoring(scheduler, admission, clock)

    async def __call__(self, records: CandidateRecords) -> ScoredCandidates:
        """Score as many candidates as fit before the deadline of the request."""
        request, gathered = records.candidates.imputed.request, records.gathered
        scores = await self._scoring.score(
            partial(self._prepare, records), gathered.candidates, request.deadline, request.priority,
            usual=not gathered.late,
        )  # fmt: skip
        degraded = scores.degraded(records.candidates.late or bool(gathered.late))
        return ScoredCandidates(records, _insert_late(records.entity_ids, scores.logits, gathered.late), degraded)

    def _prepare(self, records: CandidateRecords) -> Score:
        """Prepare the context, which is encoded once: by retrieval, or here from the records that were gathered."""
        candidates = records.candidates
        if candidates.encoded is not None:
            return self._model.prepare(candidates.encoded)
        return self._model.prepare(self._model.encode_context(candidates.imputed.filled, records.gathered.context))


@dataclass(frozen=True, slots=True)
class Scores:
    """Float32 [C] logits, NaN for a missing one, and why they are missing: too `late`, or not finite (`broken`)."""

    logits: Logits
    late: bool
    broken: bool

    def degraded(self, late: bool = False) -> list[str]:
        """The `degraded` codes of the API; `late`: some candidates never reached scoring."""
        return [DEADLINE] * (self.late or late) + [SCORE_NOT_FINITE] * self.broken


class Scoring:
    """Scores records with a prepared context, one chunk at a time through the scheduler."""

    def __init__(self, scheduler: Scheduler, admission: AdmissionControl, clock: Clock) -> None:
        self._scheduler = scheduler
        self._admission = admission
        self._clock = clock

    async def score(
        self,
        prepare: Callable[[], Score],
        records: RecordBatch,
        deadline: float,
        priority: Priority = Priority.NORMAL,
        usual: bool = True,
    ) -> Scores:
        """Logits of `records`, as many chunks as fit before `deadline` (on this object's clock).

        `prepare` prepares the context; it runs with the first chunk. A chunk that still waits at the deadline is
        never computed. Only a `usual` ranking updates the measured time per candidate: if records are missing, the
        time to prepare the context would be attributed to the few candidates that have one.
        """
        logits = np.full(len(records), np.nan, np.float32)
        scorer, scored_count = _ChunkScorer(prepare, self._clock), 0
        while scored_count < len(records):
            end = min(scored_count + CHUNK, len(records))
            chunk = partial(scorer, records.part(scored_count, end))
            chunk_logits = await self._scheduler.run(chunk, deadline - self._clock(), priority)
            if chunk_logits is None:
                break
            logits[scored_count:end] = chunk_logits
            if usual:
                self._admission.measured(end - scored_count, scorer.seconds)
            scored_count = end
        broken = ~np.isfinite(logits[:scored_count])
        logits[:scored_count][broken] = np.nan
        return Scores(logits, late=scored_count < len(records), broken=bool(broken.any()))


class _ChunkScorer:
    """Scores the chunks of one ranking; prepares its context once. `seconds`: time of the last chunk."""

    def __init__(self, prepare: Callable[[], Score], clock: Clock) -> None:
        self._prepare = prepare
        self._clock = clock
        self._score: Score | None = None
        self.seconds = 0.0

    def __call__(self, chunk: RecordBatch) -> Logits:
        started = self._clock()
        if self._score is None:
            self._score = self._prepare()
        logits = self._score(chunk)
        self.seconds = self._clock() - started
        return logits


def _insert_late(entity_ids: Sequence[str], logits: Logits, late: frozenset[str]) -> Logits:
    """Logits of all known ids from those of the ids that are not late; NaN for late ones."""
    if not late:
        return logits
    all_logits: Logits = np.full(len(entity_ids), np.nan, np.float32)
    all_logits[[entity_id not in late for entity_id in entity_ids]] = logits
    return all_logits
