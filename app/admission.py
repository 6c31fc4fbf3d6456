"""Admission: what may still be waited for is let in, the rest is refused before any work. Computes nothing.

The queue is counted in candidates, which is what a ranking costs; how long one takes is measured as it goes. A
request waits for those of its own priority and above, and lower priorities may fill less of the queue: under load the
lowest is refused first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

from app.errors import OverloadedError
from app.telemetry import Clock, Telemetry
from model.data.context import HOMEPAGE, SEARCH

_FILLS = (1.0, 0.75, 0.5)  # share of the queue that each priority may fill
_MEMORY = 0.05  # weight of the newest measurement


class Priority(IntEnum):
    """Lower goes first."""

    HIGH = 0
    NORMAL = 1
    LOW = 2


def priority_of(task: str) -> Priority:
    """Unless told otherwise: somebody types and waits for a search; a homepage may come a moment later."""
    return {SEARCH: Priority.HIGH, HOMEPAGE: Priority.LOW}.get(task, Priority.NORMAL)


class Gate:
    """Knows how many candidates are under way at each priority, and how long one takes."""

    def __init__(self, limit: int, clock: Clock, telemetry: Telemetry) -> None:
        self._limit = limit
        self._clock = clock
        self._telemetry = telemetry
        self._under_way = [0] * len(Priority)
        self._seconds = 0.0  # for one candidate; 0 = not measured yet

    def wait_s(self, priority: Priority) -> float:
        """How long a request of that priority would wait now."""
        return sum(self._under_way[: priority + 1]) * self._seconds

    def measured(self, candidates: int, seconds: float) -> None:
        """That many candidates took so long."""
        each = seconds / candidates
        self._seconds = each if not self._seconds else self._seconds + _MEMORY * (each - self._seconds)

    def full(self, patience_s: float) -> bool:
        """Whether not even the smallest ranking of the highest priority fits, or it would wait longer than that."""
        return sum(self._under_way) >= self._limit or self.wait_s(Priority.HIGH) > patience_s

    def check_full(self, patience_s: float) -> None:
        """Raise `OverloadedError` where there is no room. What is refused here costs little: its body was not read."""
        if self.full(patience_s):
            queued = sum(self._under_way) >= self._limit
            why = "the queue is full" if queued else f"it would wait {self.wait_s(Priority.HIGH):.2f} s"
            self._refuse(Priority.HIGH, why)

    @contextmanager
    def admitted(self, candidates: int, priority: Priority, deadline: float) -> Iterator[None]:
        """Let `candidates` in for the length of the block. Raises `OverloadedError` where they would not be done.

        An empty queue takes a ranking of any size.
        """
        queue = sum(self._under_way)
        if queue and queue + candidates > self._limit * _FILLS[priority]:
            self._refuse(priority, f"{queue} candidates are under way")
        if self._clock() + self.wait_s(priority) > deadline:
            self._refuse(priority, f"it would wait {self.wait_s(priority):.2f} s, longer than it may take")
        self._move(priority, candidates)
        try:
            yield
        finally:
            self._move(priority, -candidates)

    def _refuse(self, priority: Priority, why: str) -> None:
        name = priority.name.lower()
        self._telemetry.shed.labels(name).inc()
        raise OverloadedError(f"priority {name}: {why}", max(1, math.ceil(self.wait_s(priority))))

    def _move(self, priority: Priority, candidates: int) -> None:
        self._under_way[priority] += candidates
        self._telemetry.queue_candidates.labels(priority.name.lower()).set(self._under_way[priority])
