"""Popularity at a moment: only what was before counts, whatever comes later; early moments compare with late ones."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from model.events.popularity import FEWEST_RECENT, NOW, PopularityOverTime

EVENTS = st.lists(st.tuples(st.integers(0, 4), st.integers(-1, 20)), max_size=40)


@given(EVENTS, st.integers(-1, 21))
def test_counts_are_those_of_the_earlier_events(events: list[tuple[int, int]], moment: int) -> None:
    rows, times = (np.array([event[n] for event in events], np.int64) for n in (0, 1))
    table = PopularityOverTime.of(rows, times)
    _, recent = table.before(np.arange(5), moment)  # the window is longer than all events
    expected = [sum(row == r and time < moment for row, time in events) for r in range(5)]
    np.testing.assert_allclose(np.expm1(recent), expected, atol=1e-4)


@given(EVENTS)
def test_now_counts_everything_unscaled(events: list[tuple[int, int]]) -> None:
    rows, times = (np.array([event[n] for event in events], np.int64) for n in (0, 1))
    popularity, _ = PopularityOverTime.of(rows, times).before(np.arange(5), NOW)
    np.testing.assert_allclose(np.expm1(popularity), np.bincount(rows, minlength=5), atol=1e-4)


def test_only_the_newest_events_are_recent() -> None:
    rows = np.repeat([0, 1], [FEWEST_RECENT, FEWEST_RECENT])
    table = PopularityOverTime.of(rows, np.arange(len(rows)))
    assert np.expm1(table.before(np.array([0, 1]))[1]).round().tolist() == [0, FEWEST_RECENT]


def test_half_the_log_counts_nearly_twice() -> None:
    rows, times = np.zeros(10_000, np.int64), np.arange(10_000)
    popularity, _ = PopularityOverTime.of(rows, times).before(np.array([0]), 5_000)
    assert 9_000 < np.expm1(popularity[0]) < 10_000
