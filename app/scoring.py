"""The judge: the one compute thread, candidates scored in chunks up to a deadline.

Knows nothing of ids, order or HTTP. C = candidates.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import count
from queue import PriorityQueue
from threading import Thread
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from app.admission import Gate, Priority
from app.telemetry import Clock

DEADLINE = "deadline"
HEAD_START_S = 0.02  # how much earlier something must have come to go before the next higher priority
CHUNK = 512  # candidates between two looks at the clock

Logits = npt.NDArray[np.float32]
T = TypeVar("T")
Score = Callable[[Any], Logits]  # records of candidates → their logits


class Held(Protocol):
    """Records of some entities, as a model holds them to compute with."""

    def __len__(self) -> int:
        """How many."""
        ...

    def part(self, start: int, end: int) -> Held:
        """Those from `start` to before `end`."""
        ...


class ComputeThread:
    """The one thread in which a model computes; the event loop stays free to answer.

    Higher priorities go first, but nobody starves: each step down the priorities is worth `HEAD_START_S` of waiting.
    """

    def __init__(self) -> None:
        self._waiting: PriorityQueue[tuple[float, int, Future[Any] | None, Callable[[], Any]]] = PriorityQueue()
        self._numbers = count()
        self._closed = False
        self._thread = Thread(target=self._work, name="unirank-compute", daemon=True)
        self._thread.start()

    async def run(self, work: Callable[[], T], priority: Priority = Priority.NORMAL) -> T:
        """The result of `work`, after what goes before it. Cancelled while it waits = not run."""
        if self._closed:
            raise RuntimeError("the compute thread is closed")
        future: Future[T] = Future()
        due = time.monotonic() + priority * HEAD_START_S
        self._waiting.put((due, next(self._numbers), future, work))
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Let the running work end and drop what waits."""
        self._closed = True
        self._waiting.put((-math.inf, next(self._numbers), None, lambda: None))
        self._thread.join()

    def _work(self) -> None:
        while True:
            _, _, future, work = self._waiting.get()
            if future is None:
                break
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)
        while not self._waiting.empty():
            left = self._waiting.get()[2]
            if left is not None:
                left.cancel()


@dataclass(frozen=True, slots=True)
class Scores:
    """Float32 [C] logits, NaN where there is none, and why there is none."""

    logits: Logits
    late: bool
    broken: bool

    def degraded(self) -> list[str]:
        """The `degraded` codes of the API."""
        return [DEADLINE] * self.late + ["score_not_finite"] * self.broken


class Scoring:
    """Scores records with a context that is made ready, in the compute thread."""

    def __init__(self, compute: ComputeThread, gate: Gate, clock: Clock) -> None:
        self._compute = compute
        self._gate = gate
        self._clock = clock

    async def score(
        self, prepare: Callable[[], Score], records: Held, deadline: float, priority: Priority = Priority.NORMAL
    ) -> Scores:
        """Logits of `records`, as many chunks as fit before `deadline` (on this object's clock).

        `prepare` makes the context ready for its candidates; it runs with the first chunk.
        """
        logits = np.full(len(records), np.nan, np.float32)
        work, done = _Work(prepare, self._clock), 0
        while done < len(records):
            end = min(done + CHUNK, len(records))
            scored = await self._chunk(work, records.part(done, end), deadline, priority)
            if scored is None:
                break
            logits[done:end] = scored
            self._gate.measured(end - done, work.seconds)
            done = end
        broken = ~np.isfinite(logits[:done])
        logits[:done][broken] = np.nan
        return Scores(logits, late=done < len(records), broken=bool(broken.any()))

    async def _chunk(self, work: _Work, chunk: Held, deadline: float, priority: Priority) -> Logits | None:
        """One chunk, or None past the deadline. A chunk that still waits then is never computed."""
        left = deadline - self._clock()
        if left <= 0:
            return None
        try:
            async with asyncio.timeout(left):
                return await self._compute.run(lambda: work(chunk), priority)
        except TimeoutError:
            return None


class _Work:
    """The chunks of one ranking; its context is made ready once. `seconds` of the last one."""

    def __init__(self, prepare: Callable[[], Score], clock: Clock) -> None:
        self._prepare = prepare
        self._clock = clock
        self._score: Score | None = None
        self.seconds = 0.0

    def __call__(self, chunk: Held) -> Logits:
        started = self._clock()
        if self._score is None:
            self._score = self._prepare()
        logits = self._score(chunk)
        self.seconds = self._clock() - started
        return logits
