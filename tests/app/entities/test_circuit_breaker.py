"""The circuit breaker opens after failures in a row and lets one trial through after each pause."""

from __future__ import annotations

from app_fakes import Clock

from app.entities.circuit_breaker import CircuitBreaker


def test_it_opens_after_failures_in_a_row_and_tries_once_after_each_pause():
    clock = Clock()
    breaker = CircuitBreaker(clock, limit=3, pause_s=1.0)
    for _ in range(2):
        breaker.failed()
    breaker.succeeded()
    for _ in range(3):
        assert breaker.allows()
        breaker.failed()
    assert not breaker.allows()
    clock.now += 1.0
    assert breaker.allows()
    assert not breaker.allows()
    clock.now += 1.0
    assert breaker.allows()
    breaker.succeeded()
    assert breaker.closed
    assert breaker.allows()
