"""Admission: what may still be waited for is let in, the rest is refused before any work. Computes nothing.

The queue is counted in candidates, which is what scoring costs; proposals count beside them. How long one takes is
measured as it goes. A request waits for those of its own priority and above, and lower priorities may fill less of the
queue: under load the lowest is refused first. Records that have to be computed are counted apart: only once they are
looked for is it known that they are missing, and who needs none of them does not wait for them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import TypeVar

from app.errors import OverloadedError
from app.observability.metrics import Clock, Metrics
from model.context.context import HOMEPAGE, SEARCH

T = TypeVar("T")
_FILLS = (1.0, 0.75, 0.5)  # share of the queue that each priority may fill
_HEAD_START_S = 0.02  # how much earlier something must have come to go before the next higher priority
_MEMORY = 0.05  # weight of the newest measurement


class Priority(IntEnum):
    """Lower goes first."""

    HIGH = 0
    NORMAL = 1
    LOW = 2


def priority_of(task: str) -> Priority:
    """Unless told otherwise: somebody types and waits for a search; a homepage may come a moment later."""
    return {SEARCH: Priority.HIGH, HOMEPAGE: Priority.LOW}.get(task, Priority.NORMAL)


def due(priority: Priority, came: float) -> float:
    """When something that came then is due, in seconds of its clock; who is due first goes first. So higher priorities
    go first, but nobody starves: each step down is worth some waiting.
    """
    return came + priority * _HEAD_START_S


class Load:
    """Work of one kind: units under way at each priority, and how long one takes."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.under_way = [0] * len(Priority)
        self.unit_s = 0.0  # 0 = not measured yet
        self._measurements = 0

    def wait_s(self, priority: Priority) -> float:
        """How long what goes before, or beside, work of that priority will take."""
        return sum(self.under_way[: priority + 1]) * self.unit_s

    def measured(self, units: int, seconds: float) -> None:
        """That many units took so long. The first ones weigh the same: what a cold start took is soon forgotten."""
        self._measurements += 1
        self.unit_s += max(_MEMORY, 1 / self._measurements) * (seconds / units - self.unit_s)

    def move(self, priority: Priority, units: int) -> None:
        """So many more units are under way, or fewer."""
        self.under_way[priority] += units

    @contextmanager
    def one(self, priority: Priority) -> Iterator[None]:
        """One unit is under way for the length of the block."""
        self.move(priority, 1)
        try:
            yield
        finally:
            self.move(priority, -1)

    def timed(self, work: Callable[[], T]) -> T:
        """The result of `work`, which is one unit; in whichever thread this is called."""
        started = self.clock()
        result = work()
        self.measured(1, self.clock() - started)
        return result


class AdmissionControl:
    """Knows what is under way at each priority: candidates to score, and what the compute thread has to do."""

    def __init__(self, limit: int, clock: Clock, metrics: Metrics) -> None:
        self._limit = limit
        self._clock = clock
        self.scoring = Load(clock)  # of candidates
        self.proposals = Load(clock)
        self.records = Load(clock)  # of parts, as the entity tower computes them
        self._shed = [metrics.shed.labels(priority.name.lower()) for priority in Priority]
        self._queue_candidates = [metrics.queue_candidates.labels(priority.name.lower()) for priority in Priority]
        self._usual = 0.0  # candidates of a ranking

    def wait_s(self, priority: Priority) -> float:
        """How long a request of that priority would wait now."""
        return self.scoring.wait_s(priority) + self.proposals.wait_s(priority)

    def measured(self, candidates: int, seconds: float) -> None:
        """That many candidates took so long."""
        self.scoring.measured(candidates, seconds)

    def why_full(self, patience_s: float, coming: int = 0) -> str:
        """Why not even the smallest ranking of the highest priority may come in; empty = it may.

        `coming` rankings were let in and are not admitted yet; they count as many candidates as rankings usually have.
        """
        ahead = coming * self._usual
        if sum(self.scoring.under_way) + ahead >= self._limit:
            return "the queue is full"
        wait_s = self.wait_s(Priority.HIGH) + ahead * self.scoring.unit_s
        return f"it would wait {wait_s:.2f} s" if wait_s > patience_s else ""

    def check_room(self, patience_s: float) -> None:
        """Raise `OverloadedError` where there is no room. What is refused here costs little: its body was not read."""
        if why := self.why_full(patience_s):
            raise self.refusal(Priority.HIGH, why)

    @contextmanager
    def admitted(self, candidates: int, priority: Priority, deadline: float) -> Iterator[None]:
        """Let `candidates` in for the length of the block. Raises `OverloadedError` where they would not be done.

        An empty queue takes a ranking of any size.
        """
        queue = sum(self.scoring.under_way)
        if queue and queue + candidates > self._limit * _FILLS[priority]:
            raise self.refusal(priority, f"{queue} candidates are under way")
        if self._clock() + self.wait_s(priority) > deadline:
            raise self.refusal(priority, f"it would wait {self.wait_s(priority):.2f} s, longer than it may take")
        self._usual = _followed(self._usual, candidates)
        self._move(priority, candidates)
        try:
            yield
        finally:
            self._move(priority, -candidates)

    def refusal(self, priority: Priority, why: str) -> OverloadedError:
        """What to raise where there is no room; counted."""
        self.refused(priority)
        return overloaded(priority, why, self.retry_after_s(priority))

    def records_refusal(self, priority: Priority) -> OverloadedError:
        """What to raise where the records of others take longer than this one has; counted."""
        return self.refusal(priority, f"its records would wait {self.records.wait_s(priority):.2f} s")

    def refused(self, priority: Priority, count: int = 1) -> None:
        """Count what was refused."""
        self._shed[priority].inc(count)

    def retry_after_s(self, priority: Priority) -> int:
        """In how many seconds one of that priority may come back."""
        return max(1, math.ceil(self.wait_s(priority) + self.records.wait_s(priority)))

    def _move(self, priority: Priority, candidates: int) -> None:
        self.scoring.move(priority, candidates)
        self._queue_candidates[priority].set(self.scoring.under_way[priority])


def overloaded(priority: Priority, why: str, retry_after_s: int) -> OverloadedError:
    """That there is no room for one of that priority."""
    return OverloadedError(f"priority {priority.name.lower()}: {why}", retry_after_s)


def _followed(mean: float, newest: float) -> float:
    """The running mean after one more measurement; 0 = there was none."""
    return mean + _MEMORY * (newest - mean) if mean else newest
