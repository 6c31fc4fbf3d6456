"""What a history says of an entity: what was liked pulls, what was passed over is apart, recent events weigh more."""

from __future__ import annotations

import numpy as np
import pytest
from toy_catalogue import HEAT, SPACE, TOY_SOLDIERS, TOY_STORY, UP, catalogue, features


def test_without_a_history_its_features_are_zero() -> None:
    made = features("toy", TOY_STORY)
    for name in (
        "liked",
        "liked_recent",
        "liked_last",
        "passed",
        "liked_cosine",
        "comes_next",
        "text_liked",
        "text_recent",
    ):
        assert not made[name].any(), name
    assert not made["history_size"].any()


def test_what_was_liked_pulls_its_neighbours_and_what_was_passed_is_apart() -> None:
    made = features(liked=(TOY_STORY,), passed=(HEAT,))
    assert made["liked"][TOY_SOLDIERS] > 0
    assert made["liked"][HEAT] == 0
    assert made["passed"][HEAT] > 0
    assert made["passed"][TOY_SOLDIERS] == 0
    assert made["liked_cosine"][TOY_SOLDIERS] == pytest.approx(1, abs=1e-3)
    assert made["history_size"].tolist() == pytest.approx([np.log(2)] * 6)


def test_a_history_of_passed_entities_alone() -> None:
    made = features(passed=(HEAT,))
    assert not made["liked"].any()
    assert not made["text_liked"].any()
    assert made["history_size"].tolist() == [0] * 6


def test_recent_events_weigh_more() -> None:
    older, newer = features(liked=(TOY_STORY, HEAT)), features(liked=(HEAT, TOY_STORY))
    assert newer["liked_recent"][TOY_SOLDIERS] > older["liked_recent"][TOY_SOLDIERS]
    assert newer["liked"].tolist() == pytest.approx(older["liked"].tolist())
    long_ago = features(liked=(TOY_STORY, HEAT, HEAT, HEAT))
    assert long_ago["liked_last"][TOY_SOLDIERS] == 0


def test_what_follows_the_newest_events_comes_next_whether_they_were_liked_or_not() -> None:
    assert features(liked=(TOY_STORY,))["comes_next"].tolist() == [0, 0.5, 0.25, 0, 0, 0]
    both = features(liked=(TOY_STORY,), passed=(HEAT,))  # passed last
    assert both["comes_next"].tolist() == pytest.approx([0, 0.8 * 0.5 + 0.125, 0.8 * 0.25, 0, 0, 0])
    assert not features(liked=(TOY_STORY, *(UP,) * 20))["comes_next"].any(), "too long ago"


def test_numbers_of_the_history_are_compared_with_each_candidate() -> None:
    made = features(liked=(TOY_SOLDIERS,), passed=(HEAT,))
    year = catalogue().static[:, 0]
    mean, most = (year[TOY_SOLDIERS] + year[HEAT]) / 2, year[HEAT]  # 1991 and 1995
    np.testing.assert_allclose(made["history_mean_year"][SPACE], year[SPACE] - mean, rtol=1e-5)
    np.testing.assert_allclose(made["history_most_year"][SPACE], year[SPACE] - most, rtol=1e-5)
    assert made["history_most_year"][TOY_STORY] == 0
    assert made["history_mean_year"][UP] == 0  # its year is unknown


def test_a_history_without_numbers_compares_none() -> None:
    made = features(liked=(UP,))
    assert not made["history_mean_year"].any()
    assert not made["history_most_year"].any()
