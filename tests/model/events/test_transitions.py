"""What people engaged with next has a direction, fades with distance, and stays within one user's events."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.events.transitions import FADE, NOBODY, PRIOR, WINDOW, Transitions, fit


def fitted(*timelines: list[int], liked: bool | list[bool] = True, width: int = 3, count: int = 20) -> Transitions:
    users = np.repeat(np.arange(len(timelines)), [len(timeline) for timeline in timelines])
    entities = np.array([entity for timeline in timelines for entity in timeline], np.int64)
    likes = np.broadcast_to(np.array(liked), entities.shape)
    return fit(users, entities, likes, count, width)


def successors(transitions: Transitions, entity: int) -> dict[int, float]:
    pairs = zip(transitions.rows[entity].tolist(), transitions.weights[entity].tolist(), strict=True)
    return {row: weight for row, weight in pairs if row != NOBODY}


def test_the_next_entity_of_the_same_user_follows_and_the_earlier_does_not() -> None:
    made = fitted([0, 1], [2, 3])
    assert successors(made, 0) == {1: pytest.approx(1 / (1 + PRIOR), rel=1e-3)}
    assert successors(made, 2) == {3: pytest.approx(1 / (1 + PRIOR), rel=1e-3)}
    assert successors(made, 1) == successors(made, 3) == {}


def test_a_nearer_like_counts_more_and_one_beyond_the_window_not_at_all() -> None:
    weights = successors(fitted(list(range(WINDOW + 2)), width=WINDOW + 2), 0)
    assert sorted(weights) == list(range(1, WINDOW + 1))
    assert weights[2] / weights[1] == pytest.approx(1 / (1 + FADE), rel=1e-3)


def test_only_likes_follow_and_what_was_passed_may_come_before() -> None:
    made = fitted([0, 1, 2], liked=[False, False, True])
    assert list(successors(made, 0)) == list(successors(made, 1)) == [2]


def test_the_strongest_are_kept_strongest_first() -> None:
    made = fitted([0, 1], [0, 1], [0, 2], [0, 3], width=2)
    assert made.rows[0].tolist() == [1, 2]
    assert made.weights[0, 0] == pytest.approx(2 * made.weights[0, 1], rel=1e-3)


def test_an_entity_does_not_follow_itself() -> None:
    assert successors(fitted([0, 0, 1]), 0).keys() == {1}


def test_rows_of_new_entities_have_no_successors() -> None:
    taken = fitted([0, 1]).take(np.array([0, -1]))
    assert (taken.rows[1].tolist(), taken.weights[1].tolist()) == ([NOBODY] * 3, [0.0] * 3)
    assert taken.rows[0, 0] == 1


@given(st.lists(st.lists(st.integers(0, 19), max_size=30), max_size=5), st.integers(0, 4))
def test_weights_are_shares_and_places_are_filled_from_the_front(timelines: list[list[int]], width: int) -> None:
    made = fitted(*timelines, width=width) if timelines else fitted([], width=width)
    assert made.rows.shape == made.weights.shape == (20, width)
    assert (made.weights.sum(1) < 1).all()
    assert (np.diff(made.weights, axis=1) <= 0).all()
    assert ((made.rows == NOBODY) == (made.weights == 0)).all()
