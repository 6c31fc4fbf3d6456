"""Turns of the event loop: short work that is done where its answer is awaited, the most urgent first.

A thread of its own would hand over the interpreter's lock twice for each ranking, and fight for it in between: on one
core that costs a seventh of all rankings (docs/decisions/0009-event-loop-scoring.md). What takes long is not for here.
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
TURN_S = 0.003  # a turn begins nothing after this; with what it began last it stays below 5 ms


class Scheduler:
    """What waits for the event loop, in the order in which it is `due`. All its methods are called there."""

    def __init__(self) -> None:
        self._waiting: list[_Waiting] = []
        self._numbers = count()
        self._called = False

    async def run(self, work: Callable[[], T], within_s: float, priority: Priority = Priority.NORMAL) -> T | None:
        """The result of `work`, after what goes before it; None where it did not begin within so many seconds.

        Cancelled while it waits = not run.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T | None] = loop.create_future()
        now = time.monotonic()
        heappush(self._waiting, (due(priority, now), next(self._numbers), now + within_s, future, work))
        self._call(loop)
        late = loop.call_later(within_s, _give_up, future)
        try:
            return await future
        finally:
            late.cancel()

    def _call(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._waiting and not self._called:
            self._called = True
            loop.call_soon(self._turn, loop)

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Some of what waits; then the loop reads and writes before the next turn."""
        self._called = False
        now = time.monotonic()
        ends = now + TURN_S
        while self._waiting and now < ends:
            _, _, begins_by, future, work = heappop(self._waiting)
            if now >= begins_by:
                _give_up(future)
            elif not future.done():
                _finish(future, work)
            now = time.monotonic()
        self._call(loop)


_Waiting = tuple[float, int, float, asyncio.Future[Any], Callable[[], Any]]  # due, number, begins by, …


def _finish(future: asyncio.Future[T], work: Callable[[], T]) -> None:
    try:
        future.set_result(work())
    except Exception as error:
        future.set_exception(error)


def _give_up(future: asyncio.Future[T | None]) -> None:
    if not future.done():
        future.set_result(None)
