"""A token bucket limits the rate of one key. It counts in one process, so N workers allow N times the rate."""

from __future__ import annotations

from app.http.auth.keys import Key


class TokenBucket:
    """Fills with `rate_per_s` tokens a second, holds at most `burst`; each request takes one."""

    def __init__(self, key: Key, now: float) -> None:
        self._key = key
        self._tokens = float(key.burst)
        self._last = now

    def wait_s(self, now: float) -> float:
        """Take a token and return 0; if there is none, return the seconds until there is one."""
        rate = self._key.rate_per_s
        if rate is None:
            return 0.0
        self._tokens = min(float(self._key.burst), self._tokens + max(0.0, now - self._last) * rate)
        self._last = now
        if self._tokens >= 1:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) / rate
