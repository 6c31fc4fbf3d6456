"""A breaker: after failures in a row, leave a neighbour alone for a while, then try once. Calls nothing."""

from __future__ import annotations

from app.observability.metrics import Clock


class CircuitBreaker:
    """Open after `limit` failures in a row; then one trial every `pause_s` until one succeeds."""

    def __init__(self, clock: Clock, limit: int = 3, pause_s: float = 1.0) -> None:
        self._clock = clock
        self._limit = limit
        self._pause_s = pause_s
        self._failures = 0
        self._next_trial = 0.0

    @property
    def closed(self) -> bool:
        """Whether the neighbour is thought to be well."""
        return self._failures < self._limit

    def allows(self) -> bool:
        """Whether to call now. While open, a True is the one trial of this pause."""
        if self.closed:
            return True
        now = self._clock()
        if now < self._next_trial:
            return False
        self._next_trial = now + self._pause_s
        return True

    def succeeded(self) -> None:
        """The call went well: closed."""
        self._failures = 0

    def failed(self) -> None:
        """The call failed."""
        self._failures += 1
        self._next_trial = self._clock() + self._pause_s
