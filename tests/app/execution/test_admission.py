"""A ranking is admitted while there is room and time for it; the lowest priority is refused first, and told when to
come back.
"""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from app.errors import OverloadedError
from app.execution.admission import Gate, Priority
from app.observability.metrics import Telemetry


@pytest.fixture
def gate() -> Gate:
    return Gate(100, lambda: 0.0, Telemetry(CollectorRegistry()))


def fits(gate: Gate, candidates: int, priority: Priority, deadline: float = 1e9) -> bool:
    try:
        with gate.admitted(candidates, priority, deadline):
            return True
    except OverloadedError:
        return False


def test_the_lowest_priority_is_refused_first(gate):
    with gate.admitted(49, Priority.LOW, 1e9):
        assert [fits(gate, 20, priority) for priority in Priority] == [True, True, False]
        with gate.admitted(20, Priority.HIGH, 1e9):
            assert [fits(gate, 20, priority) for priority in Priority] == [True, False, False]
            with gate.admitted(31, Priority.HIGH, 1e9):
                assert not any(fits(gate, 1, priority) for priority in Priority)
                with pytest.raises(OverloadedError, match="full"):
                    gate.check_full(1e9)
    assert fits(gate, 1, Priority.LOW)


def test_an_empty_queue_takes_a_ranking_of_any_size(gate):
    with gate.admitted(5000, Priority.LOW, 1e9):
        assert not fits(gate, 1, Priority.HIGH)


def test_a_ranking_that_would_wait_past_its_deadline_is_refused_with_retry_after(gate):
    gate.measured(10, 1.0)  # a tenth of a second each
    with gate.admitted(30, Priority.NORMAL, 1e9):
        assert gate.wait_s(Priority.HIGH) == 0
        gate.check_full(0)
        assert gate.wait_s(Priority.LOW) == pytest.approx(3)
        assert fits(gate, 1, Priority.HIGH, deadline=0.1)  # goes before those who wait
        with pytest.raises(OverloadedError) as refused, gate.admitted(1, Priority.NORMAL, 2.9):
            pass
        assert refused.value.headers() == {"retry-after": "3"}
        assert fits(gate, 1, Priority.NORMAL, deadline=3.1)


def test_a_queue_that_is_too_long_for_any_priority_refuses_before_the_body_is_read(gate):
    gate.measured(10, 1.0)
    with gate.admitted(30, Priority.HIGH, 1e9):
        gate.check_full(3.1)
        with pytest.raises(OverloadedError, match=r"it would wait 3\.00 s"):
            gate.check_full(2.9)


def test_the_estimate_of_the_waiting_time_follows_measurements(gate):
    gate.measured(10, 1.0)
    for _ in range(200):
        gate.measured(100, 1.0)
    with gate.admitted(50, Priority.HIGH, 1e9):
        assert gate.wait_s(Priority.HIGH) == pytest.approx(0.5, rel=0.01)


def test_room_in_the_queue_is_freed_after_an_error(gate):
    def fail() -> None:
        with gate.admitted(100, Priority.HIGH, 1e9):
            raise KeyError("in the middle")

    with pytest.raises(KeyError):
        fail()
    gate.check_full(0)
