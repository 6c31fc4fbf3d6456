"""The judge: permits, the one compute thread, candidates scored in chunks up to a deadline.

Knows nothing of ids, order or HTTP. C = candidates.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from app.errors import OverloadedError
from app.telemetry import Clock
from model.data.imputation import Filled

CHUNK = 512  # candidates between two looks at the clock

Logits = npt.NDArray[np.float32]
T = TypeVar("T")


class Scorer(Protocol):
    """The part of a model that scoring needs."""

    def score(self, filled: Filled, candidates: Sequence[bytes], side: Mapping[str, bytes]) -> Logits:
        """Float32 [C] logits of packed records."""
        ...


class Permits:
    """How many rankings may be under way. One more than that is refused before any work is done for it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.taken = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Hold a permit. Raises `OverloadedError` where none is free."""
        if self.taken >= self._limit:
            raise OverloadedError(f"{self.taken} rankings are under way, the limit is {self._limit}")
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1


class ComputeThread:
    """The one thread in which a model computes; the event loop stays free to answer."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="unirank-compute")

    async def run(self, work: Callable[[], T]) -> T:
        """The result of `work`, run after what was asked for before."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        """Let the running work end and drop what waits."""
        self._pool.shutdown(wait=True, cancel_futures=True)


@dataclass(frozen=True, slots=True)
class Scores:
    """Float32 [C] logits, NaN where there is none, and why there is none."""

    logits: Logits
    late: bool
    broken: bool

    def degraded(self) -> list[str]:
        """The `degraded` codes of the API."""
        return ["deadline"] * self.late + ["score_not_finite"] * self.broken


class Scoring:
    """Scores records with a model, in the compute thread."""

    def __init__(self, scorer: Scorer, compute: ComputeThread, clock: Clock) -> None:
        self._scorer = scorer
        self._compute = compute
        self._clock = clock

    async def score(
        self, filled: Filled, records: Sequence[bytes], side: Mapping[str, bytes], deadline: float
    ) -> Scores:
        """Logits of `records`, as many chunks as fit before `deadline` (on this object's clock)."""
        logits = np.full(len(records), np.nan, np.float32)
        done = 0
        while done < len(records):
            chunk = records[done : done + CHUNK]
            scored = await self._chunk(filled, chunk, side, deadline)
            if scored is None:
                break
            logits[done : done + len(chunk)] = scored
            done += len(chunk)
        broken = ~np.isfinite(logits[:done])
        logits[:done][broken] = np.nan
        return Scores(logits, late=done < len(records), broken=bool(broken.any()))

    async def _chunk(
        self, filled: Filled, chunk: Sequence[bytes], side: Mapping[str, bytes], deadline: float
    ) -> Logits | None:
        """One chunk, or None past the deadline. A chunk that still waits then is never computed."""
        left = deadline - self._clock()
        if left <= 0:
            return None
        try:
            async with asyncio.timeout(left):
                return await self._compute.run(lambda: self._scorer.score(filled, chunk, side))
        except TimeoutError:
            return None
