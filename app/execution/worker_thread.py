"""The one compute thread: what takes longer than the event loop may be busy. Proposing candidates out of a whole
catalogue is such work, and making records anew; scoring is not (`scheduler.py`).
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import Future
from itertools import count
from queue import PriorityQueue
from threading import Thread
from typing import Any, TypeVar

from app.execution.admission import Priority, due

T = TypeVar("T")


class WorkerThread:
    """The one thread in which a model computes, in the order in which work is `due`; the event loop stays free."""

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
        self._waiting.put((due(priority, time.monotonic()), next(self._numbers), future, work))
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
