"""Admission control: admits requests that can finish in time and refuses the rest before any work. Computes nothing.

The queue is counted in candidates, because scoring costs time per candidate; retrieval is counted separately. The time
per unit is measured continuously. A request waits for requests of its own and of higher priorities, and lower
priorities may fill less of the queue: under load the lowest is refused first. Records that must be computed are counted
separately: that they are missing is known only after the lookup, and requests that need none do not wait for them.
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
_QUEUE_SHARES = (1.0, 0.75, 0.5)  # share of the queue that each priority may fill
_PRIORITY_STEP_S = 0.02  # work that arrived this much earlier goes before work of the next higher priority
_NEWEST_WEIGHT = 0.05  # of the newest measurement in a moving average


class Priority(IntEnum):
    """Lower values go first."""

    HIGH = 0
    NORMAL = 1
    LOW = 2


def priority_of(task: str) -> Priority:
    """The default priority of a task: a user who types waits for the search; a homepage may take a moment longer."""
    return {SEARCH: Priority.HIGH, HOMEPAGE: Priority.LOW}.get(task, Priority.NORMAL)


def due(priority: Priority, came: float) -> float:
    """The sort key of work that arrived at `came`, in seconds of the same clock; the smallest goes first. So higher
    priorities go first, but no work starves: each step down in priority is worth some waiting time.
    """
    return came + priority * _PRIORITY_STEP_S


class Load:
    """Work of one kind: units in progress at each priority, and the time that one unit takes."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.under_way = [0] * len(Priority)
        self.unit_s = 0.0  # 0 = not measured yet
        self._measurements = 0

    def wait_s(self, priority: Priority) -> float:
        """Seconds that the work in progress at this and higher priorities will take."""
        return sum(self.under_way[: priority + 1]) * self.unit_s

    def measured(self, units: int, seconds: float) -> None:
        """Record that `units` took `seconds`. The first ones weigh the same: a cold start is soon forgotten."""
        self._measurements += 1
        self.unit_s += max(_NEWEST_WEIGHT, 1 / self._measurements) * (seconds / units - self.unit_s)

    def move(self, priority: Priority, units: int) -> None:
        """Add `units` to the work in progress; negative = remove."""
        self.under_way[priority] += units

    @contextmanager
    def one(self, priority: Priority) -> Iterator[None]:
        """One unit is in progress within the block."""
        self.move(priority, 1)
        try:
            yield
        finally:
            self.move(priority, -1)

    def timed(self, work: Callable[[], T]) -> T:
        """Run `work` in the calling thread, measure it as one unit, and return its result."""
        started = self.clock()
        result = work()
        self.measured(1, self.clock() - started)
        return result


class AdmissionControl:
    """Counts the work in progress at each priority: candidates to score, and the tasks of the worker thread."""

    def __init__(self, limit: int, clock: Clock, metrics: Metrics) -> None:
        self._limit = limit
        self._clock = clock
        self.scoring = Load(clock)  # of candidates
        self.proposals = Load(clock)
        self.records = Load(clock)  # of parts, as the entity tower computes them
        self._shed = [metrics.shed.labels(priority.name.lower()) for priority in Priority]
        self._queue_candidates = [metrics.queue_candidates.labels(priority.name.lower()) for priority in Priority]
        self._mean_candidates = 0.0  # of a ranking

    def wait_s(self, priority: Priority) -> float:
        """Seconds that a request of this priority would wait now."""
        return self.scoring.wait_s(priority) + self.proposals.wait_s(priority)

    def measured(self, candidates: int, seconds: float) -> None:
        """Record that scoring `candidates` took `seconds`."""
        self.scoring.measured(candidates, seconds)

    def why_full(self, patience_s: float, pending: int = 0) -> str:
        """Why not even the smallest ranking of the highest priority would be admitted; empty = it would.

        `pending` rankings were passed on but are not admitted yet; each counts as a ranking of mean size.
        """
        ahead = pending * self._mean_candidates
        if sum(self.scoring.under_way) + ahead >= self._limit:
            return "the queue is full"
        wait_s = self.wait_s(Priority.HIGH) + ahead * self.scoring.unit_s
        return f"it would wait {wait_s:.2f} s" if wait_s > patience_s else ""

    def check_room(self, patience_s: float) -> None:
        """Raise `OverloadedError` if the queue is full. A refusal here costs little: the body was not read."""
        if why := self.why_full(patience_s):
            raise self.refusal(Priority.HIGH, why)

    @contextmanager
    def admitted(self, candidates: int, priority: Priority, deadline: float) -> Iterator[None]:
        """Admit `candidates` for the duration of the block. Raises `OverloadedError` if they would not finish in time.

        An empty queue admits a ranking of any size.
        """
        queue = sum(self.scoring.under_way)
        if queue and queue + candidates > self._limit * _QUEUE_SHARES[priority]:
            raise self.refusal(priority, f"{queue} candidates are under way")
        if self._clock() + self.wait_s(priority) > deadline:
            raise self.refusal(priority, f"it would wait {self.wait_s(priority):.2f} s, longer than it may take")
        self._mean_candidates = _moving_average(self._mean_candidates, candidates)
        self._move(priority, candidates)
        try:
            yield
        finally:
            self._move(priority, -candidates)

    def refusal(self, priority: Priority, why: str) -> OverloadedError:
        """The error to raise for a refused request; counts it."""
        self.refused(priority)
        return overloaded(priority, why, self.retry_after_s(priority))

    def records_refusal(self, priority: Priority) -> OverloadedError:
        """The error to raise if the records of other requests take longer than this one has; counts it."""
        return self.refusal(priority, f"its records would wait {self.records.wait_s(priority):.2f} s")

    def refused(self, priority: Priority, count: int = 1) -> None:
        """Count refused requests."""
        self._shed[priority].inc(count)

    def retry_after_s(self, priority: Priority) -> int:
        """Seconds after which a request of this priority may retry."""
        return max(1, math.ceil(self.wait_s(priority) + self.records.wait_s(priority)))

    def _move(self, priority: Priority, candidates: int) -> None:
        self.scoring.move(priority, candidates)
        self._queue_candidates[priority].set(self.scoring.under_way[priority])


def overloaded(priority: Priority, why: str, retry_after_s: int) -> OverloadedError:
    """The error that refuses a request of this priority."""
    return OverloadedError(f"priority {priority.name.lower()}: {why}", retry_after_s)


def _moving_average(mean: float, newest: float) -> float:
    """The moving average after one more measurement; a `mean` of 0 = there was none."""
    return mean + _NEWEST_WEIGHT * (newest - mean) if mean else newest
