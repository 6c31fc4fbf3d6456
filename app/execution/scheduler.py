"""The scheduler of the event loop: runs short work on the event loop itself, the most urgent first.

A separate thread would hand over the GIL twice for each ranking and contend for it in between: on one core that costs a
seventh of all rankings (docs/decisions/0009-event-loop-scoring.md). Long work belongs in `worker_thread.py`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Any, TypeVar

from app.execution.admission import Priority, due

T = TypeVar("T")
TURN_S = 0.003  # a turn starts no work after this; with the work it started last it stays below 5 ms


class Scheduler:
    """A queue of work for the event loop, ordered by `due`. Call all methods on the event loop."""

    def __init__(self) -> None:
        self._queue: list[_Entry] = []
        self._sequence = count()
        self._scheduled = False

    async def run(self, work: Callable[[], T], within_s: float, priority: Priority = Priority.NORMAL) -> T | None:
        """Run `work` after all that is due earlier and return its result; None if it did not start within `within_s`.

        If cancelled while it waits, `work` does not run.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T | None] = loop.create_future()
        now = time.monotonic()
        heappush(self._queue, (due(priority, now), next(self._sequence), now + within_s, future, work))
        self._schedule(loop)
        expiry = loop.call_later(within_s, _set_expired, future)
        try:
            return await future
        finally:
            expiry.cancel()

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._queue and not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._run_turn, loop)

    def _run_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run some of the queue; the event loop reads and writes before the next turn."""
        self._scheduled = False
        now = time.monotonic()
        turn_end = now + TURN_S
        while self._queue and now < turn_end:
            _, _, latest_start, future, work = heappop(self._queue)
            if now >= latest_start:
                _set_expired(future)
            elif not future.done():
                _run(future, work)
            now = time.monotonic()
        self._schedule(loop)


_Entry = tuple[float, int, float, asyncio.Future[Any], Callable[[], Any]]  # due, number, latest start, future, work


def _run(future: asyncio.Future[T], work: Callable[[], T]) -> None:
    try:
        future.set_result(work())
    except Exception as error:
        future.set_exception(error)


def _set_expired(future: asyncio.Future[T | None]) -> None:
    if not future.done():
        future.set_result(None)
