"""Limits the open connections of a worker: above the limit, the longest idle one is closed. Knows no HTTP."""

from __future__ import annotations

import resource
from typing import Protocol

_RESERVED_FILES = 100  # for the log, the store, and connections to Redis


class Closable(Protocol):
    """A connection that can be closed."""

    def make_room(self) -> None:
        """Close this idle connection."""
        ...


class ConnectionLimit:
    """Counts the connections of one worker and knows which are idle, the longest idle first."""

    def __init__(self, limit: int) -> None:
        self._limit = max(1, min(limit, _max_open_files() - _RESERVED_FILES))
        self._open: set[Closable] = set()
        self._idle: dict[Closable, None] = {}

    def opened(self, connection: Closable) -> bool:
        """Add a new, idle connection; False = the limit is reached and no connection is idle."""
        self._open.add(connection)
        while len(self._open) > self._limit:
            if not self._idle:
                self._open.discard(connection)
                return False
            oldest = next(iter(self._idle))
            self.closed(oldest)
            oldest.make_room()
        self._idle[connection] = None
        return True

    def waits(self, connection: Closable) -> None:
        """Mark a connection as idle: it has no request in progress."""
        if connection in self._open:
            self._idle.pop(connection, None)
            self._idle[connection] = None

    def works(self, connection: Closable) -> None:
        """Mark a connection as busy: the head of a request has arrived."""
        self._idle.pop(connection, None)

    def closed(self, connection: Closable) -> None:
        """Remove a connection."""
        self._open.discard(connection)
        self._idle.pop(connection, None)


def _max_open_files() -> int:
    """How many files this process may have open."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 1_000_000 if soft == resource.RLIM_INFINITY else soft
