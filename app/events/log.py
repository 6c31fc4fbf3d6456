"""The durable event log of one process: events are acknowledged once they are on disk; many callers share one sync.

A dedicated thread writes, so that the event loop never waits for a disk. Acknowledged events survive kill -9 and a
loss of power; others may be in the log or not.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path

from app.errors import EventsUnavailableError
from app.events.frames import LONGEST
from app.events.segments import Segment, recover

_log = logging.getLogger("unirank")
SEGMENT_BYTES = 64 * 2**20
MOST_WAITING_BYTES = 32 * 2**20
_Waiting = tuple[Sequence[bytes], "Future[None]"]


class EventLog:
    """Appends to segments in `folder`. The folder and the thread are created with the first event.

    `failing`: the last group of events could not be stored. The next group is tried nevertheless.
    """

    def __init__(self, folder: Path, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.folder = folder
        self._segment_bytes = segment_bytes
        self._segment: Segment | None = None
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None
        self._recovered = False
        self.failing = False

    async def append(self, payloads: Sequence[bytes]) -> None:
        """Return when all payloads are on disk. Raises `EventsUnavailableError` if they are not, and ValueError for
        payloads that do not fit a frame.
        """
        if not all(0 < len(payload) <= LONGEST for payload in payloads):
            raise ValueError(f"an event has 1 to {LONGEST} bytes")
        future: Future[None] = Future()
        with self._changed:
            self._enqueue(payloads, future)
        await asyncio.wrap_future(future)

    def append_soon(self, payloads: Sequence[bytes]) -> None:
        """Queue payloads without waiting for the disk. They are lost if it refuses them: raises nothing for that."""
        with contextlib.suppress(EventsUnavailableError), self._changed:
            self._enqueue(payloads, Future())

    def close(self) -> None:
        """Write all waiting events, then stop."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _enqueue(self, payloads: Sequence[bytes], future: Future[None]) -> None:
        """Queue payloads for the writer thread; start it if there is none."""
        if self._closed:
            raise EventsUnavailableError("the service is stopping")
        size = sum(map(len, payloads))
        if self._waiting_bytes + size > MOST_WAITING_BYTES and self._waiting:
            raise EventsUnavailableError("the disk is slower than the events that come")
        if self._thread is None or not self._thread.is_alive():
            self._start_thread()
        self._waiting.append((payloads, future))
        self._waiting_bytes += size
        self._changed.notify()

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._write_groups, name="unirank-events", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            self.failing = True
            raise EventsUnavailableError(f"no thread could be started to write events: {error}") from error
        self._thread = thread

    def _write_groups(self) -> None:
        """Write group after group until the log is closed. The callers of a group get its result or its error."""
        while group := self._next_group():
            error = self._store([payload for payloads, _ in group for payload in payloads])
            self.failing = error is not None
            for _, future in group:
                if future.set_running_or_notify_cancel():
                    _settle(future, error)
        self._close_segment()

    def _next_group(self) -> list[_Waiting]:
        """All waiting events; empty if the log is closed and none wait."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            group = list(self._waiting)
            self._waiting.clear()
            self._waiting_bytes = 0
            return group

    def _store(self, payloads: Sequence[bytes]) -> Exception | None:
        """Store payloads; returns the error for their callers if that failed. Raises nothing."""
        try:
            self._open_segment().append(payloads)
        except BaseException as error:
            self._log_first_failure(error)
            if self._segment is not None and self._segment.sealed:
                self._close_segment()
            reason = error.strerror if isinstance(error, OSError) else None
            return EventsUnavailableError(f"the events could not be stored: {reason or repr(error)}")
        return None

    def _log_first_failure(self, error: BaseException) -> None:
        """Log the first of several consecutive failures; with a traceback if it is not an `OSError`."""
        if not self.failing:
            unforeseen = None if isinstance(error, OSError) else error
            _log.error("events could not be written to %s: %s", self.folder, error, exc_info=unforeseen)

    def _open_segment(self) -> Segment:
        if not self._recovered:
            self.folder.mkdir(parents=True, exist_ok=True)
            if cut := recover(self.folder):
                _log.warning("cut %d bytes of unacknowledged events off the log of a process that died", cut)
            self._recovered = True
        if self._segment is not None and self._segment.size >= self._segment_bytes:
            self._close_segment()
        if self._segment is None:
            self._segment = Segment(self.folder)
        return self._segment

    def _close_segment(self) -> None:
        """Close the segment, if any; the next group starts a new one."""
        segment, self._segment = self._segment, None
        if segment is not None:
            with contextlib.suppress(OSError):  # all acknowledged events are on disk already
                segment.close()


def _settle(future: Future[None], error: Exception | None) -> None:
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
