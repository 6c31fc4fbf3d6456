"""The worker thread, for work that would block the event loop too long: retrieving candidates from the whole catalogue
and computing records. Scoring does not run here, but in `scheduler.py`.
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
    """One thread that runs work in the order of `due`, so that the event loop stays free."""

    def __init__(self) -> None:
        self._queue: PriorityQueue[tuple[float, int, Future[Any] | None, Callable[[], Any]]] = PriorityQueue()
        self._sequence = count()
        self._closed = False
        self._thread = Thread(target=self._run_queue, name="unirank-compute", daemon=True)
        self._thread.start()

    async def run(self, work: Callable[[], T], priority: Priority = Priority.NORMAL) -> T:
        """Run `work` after all that is due earlier and return its result. Does not run it if cancelled before."""
        if self._closed:
            raise RuntimeError("the worker thread is closed")
        future: Future[T] = Future()
        self._queue.put((due(priority, time.monotonic()), next(self._sequence), future, work))
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Wait for the running work and cancel the queued work."""
        self._closed = True
        self._queue.put((-math.inf, next(self._sequence), None, lambda: None))
        self._thread.join()

    def _run_queue(self) -> None:
        while True:
            _, _, future, work = self._queue.get()
            if future is None:
                break
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)
        while not self._queue.empty():
            queued = self._queue.get()[2]
            if queued is not None:
                queued.cancel()
