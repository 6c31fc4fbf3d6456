"""How many connections a worker holds. Above that, one that waits for its next request makes room. Knows no HTTP."""

from __future__ import annotations

import resource
from typing import Protocol

_SPARE_FILES = 100  # for the log, the store, and connections to Redis


class Closable(Protocol):
    """A connection."""

    def make_room(self) -> None:
        """Close; nothing is under way."""
        ...


class ConnectionLimit:
    """Counts the connections of one worker and knows which of them wait, the one that has waited longest first."""

    def __init__(self, limit: int) -> None:
        self._limit = max(1, min(limit, _files() - _SPARE_FILES))
        self._open: set[Closable] = set()
        self._waiting: dict[Closable, None] = {}

    def opened(self, connection: Closable) -> bool:
        """Count one more, which waits; False = there is no room, and none that waits could make some."""
        self._open.add(connection)
        while len(self._open) > self._limit:
            if not self._waiting:
                self._open.discard(connection)
                return False
            oldest = next(iter(self._waiting))
            self.closed(oldest)
            oldest.make_room()
        self._waiting[connection] = None
        return True

    def waits(self, connection: Closable) -> None:
        """Nothing of this one is under way."""
        if connection in self._open:
            self._waiting.pop(connection, None)
            self._waiting[connection] = None

    def works(self, connection: Closable) -> None:
        """The head of a request is there."""
        self._waiting.pop(connection, None)

    def closed(self, connection: Closable) -> None:
        """One less."""
        self._open.discard(connection)
        self._waiting.pop(connection, None)


def _files() -> int:
    """How many files this process may open."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 1_000_000 if soft == resource.RLIM_INFINITY else soft
