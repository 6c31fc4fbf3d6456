"""Stage 4: candidates scored in chunks up to a deadline. Knows nothing of order or HTTP. C = candidates."""

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
CHUNK = 512  # candidates between two looks at the clock

Score = Callable[[Any], Logits]  # records of candidates → their logits


class ScoreStage:
    """CandidateRecords → ScoredCandidates."""

    def __init__(self, model: RankingModel, scheduler: Scheduler, admission: AdmissionControl, clock: Clock) -> None:
        self._model = model
        self._scoring = Scoring(scheduler, admission, clock)

    async def __call__(self, records: CandidateRecords) -> ScoredCandidates:
        """As many as there is time for before the deadline of the request."""
        request, gathered = records.candidates.imputed.request, records.gathered
        scores = await self._scoring.score(
            partial(self._prepare, records), gathered.candidates, request.deadline, request.priority,
            usual=not gathered.late,
        )  # fmt: skip
        degraded = scores.degraded(records.candidates.late or bool(gathered.late))
        return ScoredCandidates(records, _beside_late(records.entity_ids, scores.logits, gathered.late), degraded)

    def _prepare(self, records: CandidateRecords) -> Score:
        """The context, encoded once: by retrieval, or here from the records that were gathered with the candidates."""
        candidates = records.candidates
        if candidates.encoded is not None:
            return self._model.prepare(candidates.encoded)
        return self._model.prepare(self._model.encode_context(candidates.imputed.filled, records.gathered.context))


@dataclass(frozen=True, slots=True)
class Scores:
    """Float32 [C] logits, NaN where there is none, and why there is none."""

    logits: Logits
    late: bool
    broken: bool

    def degraded(self, late: bool = False) -> list[str]:
        """The `degraded` codes of the API; `late`: some candidates did not get as far as this."""
        return [DEADLINE] * (self.late or late) + [SCORE_NOT_FINITE] * self.broken


class Scoring:
    """Scores records with a context that is made ready, in turns of the event loop."""

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

        `prepare` makes the context ready for its candidates; it runs with the first chunk. A chunk that still waits
        at the deadline is never computed. Only a `usual` ranking is measured: of one that lacks most of its records,
        making the context ready would count as the price of the few that are there.
        """
        logits = np.full(len(records), np.nan, np.float32)
        work, done = _Work(prepare, self._clock), 0
        while done < len(records):
            end = min(done + CHUNK, len(records))
            chunk = partial(work, records.part(done, end))
            scored = await self._scheduler.run(chunk, deadline - self._clock(), priority)
            if scored is None:
                break
            logits[done:end] = scored
            if usual:
                self._admission.measured(end - done, work.seconds)
            done = end
        broken = ~np.isfinite(logits[:done])
        logits[:done][broken] = np.nan
        return Scores(logits, late=done < len(records), broken=bool(broken.any()))


class _Work:
    """The chunks of one ranking; its context is made ready once. `seconds` of the last one."""

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


def _beside_late(known: Sequence[str], logits: Logits, late: frozenset[str]) -> Logits:
    """The logits of the known ids, given those of all but the late ones; NaN where there was no time."""
    if not late:
        return logits
    every: Logits = np.full(len(known), np.nan, np.float32)
    every[[entity_id not in late for entity_id in known]] = logits
    return every
