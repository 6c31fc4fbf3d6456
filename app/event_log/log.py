"""The durable log of one process: events are acknowledged when the disk has them, many callers with one sync.

A thread of its own writes, so the event loop never waits for a disk. What was acknowledged survives kill -9 and a loss
of power; what was not may be there or not.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path

from app.errors import EventsUnavailableError
from app.event_log.segments import Segment, recover

_log = logging.getLogger("unirank")
SEGMENT_BYTES = 64 * 2**20
MOST_WAITING_BYTES = 32 * 2**20
_Waiting = tuple[Sequence[bytes], "Future[None]"]


class EventLog:
    """Appends to segments in `folder`. The folder and the thread are made with the first event."""

    def __init__(self, folder: Path, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.folder = folder
        self._segment_bytes = segment_bytes
        self._segment: Segment | None = None
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    async def append(self, payloads: Sequence[bytes]) -> None:
        """Return when all payloads are on disk. Raises `EventsUnavailableError` where they are not."""
        done: Future[None] = Future()
        with self._changed:
            if self._closed:
                raise EventsUnavailableError("the service is stopping")
            size = sum(map(len, payloads))
            if self._waiting_bytes + size > MOST_WAITING_BYTES and self._waiting:
                raise EventsUnavailableError("the disk is slower than the events that come")
            self._waiting.append((payloads, done))
            self._waiting_bytes += size
            if self._thread is None:
                self._thread = threading.Thread(target=self._write, name="unirank-events", daemon=True)
                self._thread.start()
            self._changed.notify()
        await asyncio.wrap_future(done)

    def close(self) -> None:
        """Write what waits, then stop."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _write(self) -> None:
        while group := self._next_group():
            error = self._keep([payload for payloads, _ in group for payload in payloads])
            for _, done in group:
                if done.set_running_or_notify_cancel():
                    _settle(done, error)
        if self._segment is not None:
            self._segment.close()

    def _next_group(self) -> list[_Waiting]:
        """All that waits; empty when the log is closed and nothing waits."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            group = list(self._waiting)
            self._waiting.clear()
            self._waiting_bytes = 0
            return group

    def _keep(self, payloads: Sequence[bytes]) -> Exception | None:
        try:
            self._open().append(payloads)
        except OSError as error:
            _log.error("events could not be written to %s: %s", self.folder, error)
            if self._segment is not None:  # after a failed sync nobody knows what the disk has: begin another file
                self._segment.close()
                self._segment = None
            return EventsUnavailableError(f"the events could not be stored: {error.strerror or error}")
        return None

    def _open(self) -> Segment:
        if self._segment is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            if cut := recover(self.folder):
                _log.warning("cut %d bytes of unacknowledged events off the log of a process that died", cut)
            self._segment = Segment(self.folder)
        elif self._segment.size >= self._segment_bytes:
            full, self._segment = self._segment, None
            full.close()
            self._segment = Segment(self.folder)
        return self._segment


def _settle(done: Future[None], error: Exception | None) -> None:
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
