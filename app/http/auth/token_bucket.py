"""A token bucket: how often one key may call. Counts in this process alone, so N workers allow N times the rate."""

from __future__ import annotations

from app.http.auth.keys import Key


class TokenBucket:
    """Fills at `rate_per_s`, holds at most `burst`; each request takes one."""

    def __init__(self, key: Key, now: float) -> None:
        self._key = key
        self._tokens = float(key.burst)
        self._last = now

    def wait_s(self, now: float) -> float:
        """Take a token: 0. Or, where there is none, the seconds until there will be one."""
        rate = self._key.rate_per_s
        if rate is None:
            return 0.0
        self._tokens = min(float(self._key.burst), self._tokens + max(0.0, now - self._last) * rate)
        self._last = now
        if self._tokens >= 1:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) / rate
