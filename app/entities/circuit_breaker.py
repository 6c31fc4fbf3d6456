"""A circuit breaker: after consecutive failures, blocks calls for a while, then allows a trial. Calls nothing."""

from __future__ import annotations

from app.observability.metrics import Clock


class CircuitBreaker:
    """Opens after `limit` consecutive failures; then allows one trial every `pause_s` until one succeeds."""

    def __init__(self, clock: Clock, limit: int = 3, pause_s: float = 1.0) -> None:
        self._clock = clock
        self._limit = limit
        self._pause_s = pause_s
        self._failures = 0
        self._next_trial = 0.0

    @property
    def closed(self) -> bool:
        """Whether calls are allowed without limit."""
        return self._failures < self._limit

    def allows(self) -> bool:
        """Whether to call now. While open, True once per pause: that call is the trial."""
        if self.closed:
            return True
        now = self._clock()
        if now < self._next_trial:
            return False
        self._next_trial = now + self._pause_s
        return True

    def succeeded(self) -> None:
        """Record a successful call: closes the breaker."""
        self._failures = 0

    def failed(self) -> None:
        """Record a failed call."""
        self._failures += 1
        self._next_trial = self._clock() + self._pause_s
