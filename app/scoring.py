"""The judge: the one compute thread, candidates scored in chunks up to a deadline.

Knows nothing of ids, order or HTTP. C = candidates.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
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
from model.data.imputation import Filled

DEADLINE = "deadline"
CHUNK = 512  # candidates between two looks at the clock

Logits = npt.NDArray[np.float32]
T = TypeVar("T")


class Scorer(Protocol):
    """The part of a model that scoring needs."""

    def score(self, filled: Filled, candidates: Sequence[bytes], side: Mapping[str, bytes]) -> Logits:
        """Float32 [C] logits of packed records."""
        ...


class ComputeThread:
    """The one thread in which a model computes; the event loop stays free to answer. Higher priorities go first."""

    def __init__(self) -> None:
        self._waiting: PriorityQueue[tuple[int, int, Future[Any] | None, Callable[[], Any]]] = PriorityQueue()
        self._numbers = count()
        self._closed = False
        self._thread = Thread(target=self._work, name="unirank-compute", daemon=True)
        self._thread.start()

    async def run(self, work: Callable[[], T], priority: Priority = Priority.NORMAL) -> T:
        """The result of `work`, after what was asked for before at its priority. Cancelled while it waits = not run."""
        if self._closed:
            raise RuntimeError("the compute thread is closed")
        future: Future[T] = Future()
        self._waiting.put((priority, next(self._numbers), future, work))
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Let the running work end and drop what waits."""
        self._closed = True
        self._waiting.put((-1, next(self._numbers), None, lambda: None))
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
    """Scores records with a model, in the compute thread."""

    def __init__(self, scorer: Scorer, compute: ComputeThread, gate: Gate, clock: Clock) -> None:
        self._scorer = scorer
        self._compute = compute
        self._gate = gate
        self._clock = clock

    async def score(
        self,
        filled: Filled,
        records: Sequence[bytes],
        side: Mapping[str, bytes],
        deadline: float,
        priority: Priority = Priority.NORMAL,
    ) -> Scores:
        """Logits of `records`, as many chunks as fit before `deadline` (on this object's clock)."""
        logits = np.full(len(records), np.nan, np.float32)
        done = 0
        while done < len(records):
            chunk = records[done : done + CHUNK]
            scored = await self._chunk(filled, chunk, side, deadline, priority)
            if scored is None:
                break
            logits[done : done + len(chunk)] = scored
            done += len(chunk)
        broken = ~np.isfinite(logits[:done])
        logits[:done][broken] = np.nan
        return Scores(logits, late=done < len(records), broken=bool(broken.any()))

    async def _chunk(
        self, filled: Filled, chunk: Sequence[bytes], side: Mapping[str, bytes], deadline: float, priority: Priority
    ) -> Logits | None:
        """One chunk, or None past the deadline. A chunk that still waits then is never computed."""
        left = deadline - self._clock()
        if left <= 0:
            return None
        try:
            async with asyncio.timeout(left):
                return await self._compute.run(lambda: self._timed(filled, chunk, side), priority)
        except TimeoutError:
            return None

    def _timed(self, filled: Filled, chunk: Sequence[bytes], side: Mapping[str, bytes]) -> Logits:
        started = self._clock()
        logits = self._scorer.score(filled, chunk, side)
        self._gate.measured(len(chunk), self._clock() - started)
        return logits
