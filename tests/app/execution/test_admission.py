"""A ranking is admitted while there is room and time for it; the lowest priority is refused first, and told when to
come back.
"""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from app.errors import OverloadedError
from app.execution.admission import AdmissionControl, Priority
from app.observability.metrics import Metrics


@pytest.fixture
def admission() -> AdmissionControl:
    return AdmissionControl(100, lambda: 0.0, Metrics(CollectorRegistry()))


def fits(admission: AdmissionControl, candidates: int, priority: Priority, deadline: float = 1e9) -> bool:
    try:
        with admission.admitted(candidates, priority, deadline):
            return True
    except OverloadedError:
        return False


def test_the_lowest_priority_is_refused_first(admission):
    with admission.admitted(49, Priority.LOW, 1e9):
        assert [fits(admission, 20, priority) for priority in Priority] == [True, True, False]
        with admission.admitted(20, Priority.HIGH, 1e9):
            assert [fits(admission, 20, priority) for priority in Priority] == [True, False, False]
            with admission.admitted(31, Priority.HIGH, 1e9):
                assert not any(fits(admission, 1, priority) for priority in Priority)
                with pytest.raises(OverloadedError, match="full"):
                    admission.check_room(1e9)
    assert fits(admission, 1, Priority.LOW)


def test_an_empty_queue_takes_a_ranking_of_any_size(admission):
    with admission.admitted(5000, Priority.LOW, 1e9):
        assert not fits(admission, 1, Priority.HIGH)


def test_a_ranking_that_would_wait_past_its_deadline_is_refused_with_retry_after(admission):
    admission.measured(10, 1.0)  # a tenth of a second each
    with admission.admitted(30, Priority.NORMAL, 1e9):
        assert admission.wait_s(Priority.HIGH) == 0
        admission.check_room(0)
        assert admission.wait_s(Priority.LOW) == pytest.approx(3)
        assert fits(admission, 1, Priority.HIGH, deadline=0.1)  # goes before those who wait
        with pytest.raises(OverloadedError) as refused, admission.admitted(1, Priority.NORMAL, 2.9):
            pass
        assert refused.value.headers() == {"retry-after": "3"}
        assert fits(admission, 1, Priority.NORMAL, deadline=3.1)


def test_a_queue_that_is_too_long_for_any_priority_refuses_before_the_body_is_read(admission):
    admission.measured(10, 1.0)
    with admission.admitted(30, Priority.HIGH, 1e9):
        admission.check_room(3.1)
        with pytest.raises(OverloadedError, match=r"it would wait 3\.00 s"):
            admission.check_room(2.9)


def test_the_estimate_of_the_waiting_time_follows_measurements(admission):
    admission.measured(10, 1.0)
    for _ in range(200):
        admission.measured(100, 1.0)
    with admission.admitted(50, Priority.HIGH, 1e9):
        assert admission.wait_s(Priority.HIGH) == pytest.approx(0.5, rel=0.01)


def test_room_in_the_queue_is_freed_after_an_error(admission):
    def fail() -> None:
        with admission.admitted(100, Priority.HIGH, 1e9):
            raise KeyError("in the middle")

    with pytest.raises(KeyError):
        fail()
    admission.check_room(0)
