"""The statistics of a comparison, on values whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from model.studies.comparison import holm, interval, paired, paired_mean, seed_mean


def test_a_clear_gain_is_found_and_the_interval_holds_it() -> None:
    rng = np.random.default_rng(0)
    theirs = rng.random(400)
    ours = theirs + 0.05 + rng.normal(0, 0.1, 400)
    found = paired(ours, theirs, [f"q{i}" for i in range(400)])
    assert found.low < 0.05 < found.high
    assert found.low > 0
    assert found.p < 0.01
    assert found.relative == pytest.approx(found.value / theirs.mean())
    assert found.relative_low < found.relative < found.relative_high


def test_noise_is_no_difference() -> None:
    rng = np.random.default_rng(1)
    found = paired(rng.random(300), rng.random(300), [f"q{i}" for i in range(300)])
    assert found.low < 0 < found.high
    assert found.p > 0.05


def test_rankings_of_one_user_are_not_counted_as_many() -> None:
    rng = np.random.default_rng(2)
    ours, theirs = rng.random(40), rng.random(40)
    users = [f"u{i}" for i in range(40)]
    single = paired(ours, theirs, users)
    tenfold = paired(np.tile(ours, 10), np.tile(theirs, 10), users * 10)
    assert tenfold.groups == single.groups == 40
    assert tenfold.high - tenfold.low == pytest.approx(single.high - single.low, rel=1e-6)
    apart = paired(np.tile(ours, 10), np.tile(theirs, 10), [f"q{i}" for i in range(400)])
    assert apart.high - apart.low < 0.6 * (single.high - single.low)


def test_rankings_without_a_value_are_left_out_of_both() -> None:
    ours, theirs = np.array([1.0, np.nan, 0.5, 0.5]), np.array([0.5, 0.9, np.nan, 0.5])
    assert paired(ours, theirs, list("abcd")).value == pytest.approx(0.25)
    with pytest.raises(ValueError, match="both sides"):
        paired(np.array([np.nan]), np.array([1.0]), ["a"])


# ---- seeds --------------------------------------------------------------------------------------------------


def test_seeds_are_averaged_by_ranking() -> None:
    means = seed_mean(np.array([[1.0, np.nan, np.nan], [0.0, 0.5, np.nan]]))
    assert means[:2].tolist() == [0.5, 0.5]
    assert np.isnan(means[2])


def test_an_interval_includes_what_differs_between_seeds() -> None:
    """Two seeds 0.2 apart on every ranking: a draw holds one, the other, or both."""
    theirs = np.full(300, 0.5)
    ours = np.stack([theirs - 0.1, theirs + 0.1])
    groups = [f"q{i}" for i in range(300)]
    found = paired(ours, theirs, groups)
    assert (found.value, found.low, found.high) == pytest.approx((0.0, -0.1, 0.1))
    averaged = paired(seed_mean(ours), theirs, groups)
    assert averaged.high - averaged.low == pytest.approx(0.0)
    assert interval(ours, groups) == pytest.approx((0.5, 0.4, 0.6))


def test_equal_seeds_change_nothing() -> None:
    rng = np.random.default_rng(3)
    ours, theirs, groups = rng.random(60), rng.random(60), [f"q{i}" for i in range(60)]
    repeated = paired(np.tile(ours, (5, 1)), np.tile(theirs, (3, 1)), groups)
    assert list(repeated.to_json().values()) == pytest.approx(list(paired(ours, theirs, groups).to_json().values()))


def test_the_same_runs_evaluated_twice_share_their_seeds() -> None:
    """Seeds differ by 0.2 and the question is worth 0.01 to each: apart, the seeds hide it."""
    runs = np.array([[0.4] * 20, [0.6] * 20])
    groups = [f"q{i}" for i in range(20)]
    together = paired(runs + 0.01, runs, groups, same_runs=True)
    assert (together.low, together.high) == pytest.approx((0.01, 0.01))
    assert paired(runs + 0.01, runs, groups).low < -0.1


def test_protocols_of_one_training_share_the_seeds_of_a_draw() -> None:
    """Drawn apart, the seeds of one protocol would partly cancel those of the other."""
    theirs, groups = np.full(9, 0.5), [f"q{i}" for i in range(9)]
    ours = np.stack([theirs - 0.1, theirs + 0.1])
    found = paired_mean([ours, ours], [theirs, theirs], [groups, groups])
    outside = paired_mean([ours, ours[::-1]], [theirs, theirs], [groups, groups])
    assert (found.low, found.high) == pytest.approx((-0.1, 0.1))
    assert (outside.low, outside.high) == pytest.approx((0.0, 0.0))


def test_a_value_that_one_seed_lacks_is_the_mean_of_the_others() -> None:
    ours = np.array([[1.0, 0.2], [np.nan, 0.4]])
    assert paired(ours, np.zeros(2), ["a", "b"]).value == pytest.approx((1.0 + 0.3) / 2)


def test_holm_by_hand() -> None:
    adjusted = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert adjusted == pytest.approx({"d": 0.02, "a": 0.03, "c": 0.06, "b": 0.06})
    assert holm({"a": 0.9, "b": 0.8})["b"] == 1.0
