"""Calibration: the map that made the labels is found, straight or bent, with what users differ in; the order stays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.context.context import HistoryEvent
from model.evaluation.metrics import ece
from model.learning.calibration import (
    IDENTITY,
    Calibration,
    Curve,
    fit_curve,
    fit_curve_of_users,
    fit_platt,
    liking,
)


def drawn(slope: float, intercept: float, count: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=count) * 2
    return logits, (rng.random(count) < 1 / (1 + np.exp(-(slope * logits + intercept)))).astype(float)


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.3, -2.0), (2.5, 1.0), (0.05, 0.5)])
def test_the_map_behind_the_labels_is_found(slope: float, intercept: float) -> None:
    assert fit_platt(*drawn(slope, intercept)) == pytest.approx((slope, intercept), abs=0.12)


@pytest.mark.parametrize("scale", [0.1, 5.0, 20.0])
@pytest.mark.parametrize("shift", [-3.0, 0.0, 10.0])
def test_scale_and_place_of_the_logits_do_not_matter(scale: float, shift: float) -> None:
    """An overconfident network has logits that are too large, which is what calibration is for."""
    logits, labels = drawn(0.5, -0.5)
    slope, intercept = fit_platt(logits * scale + shift, labels)
    assert slope * scale == pytest.approx(0.5, abs=0.05)
    assert intercept + slope * shift == pytest.approx(-0.5, abs=0.1)


def test_calibrated_probabilities_have_a_small_error() -> None:
    logits, labels = drawn(0.3, -2.0)
    plain, fitted = Calibration({}), Calibration({"search": Curve.line(*fit_platt(logits, labels))})
    before, after = (ece(c.probability("search", logits), labels) for c in (plain, fitted))
    assert before is not None
    assert after is not None
    assert after < 0.02 < before


@pytest.mark.parametrize("labels", [[], [0, 0, 0], [1, 1, 1]])
def test_one_kind_of_label_gives_the_identity(labels: list[float]) -> None:
    assert fit_platt([float(i) for i in range(len(labels))], labels) == IDENTITY


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        ([-1.0, 1.0], [0, 1]),
        ([1.0, -1.0], [0, 1]),  # worse than chance: the order of logits stays
        ([3.0, 3.0, 3.0], [0, 1, 1]),
        ([-500.0, 500.0, 0.0], [0, 1, 0]),
        ([1e-9, 2e-9], [0, 3]),
    ],
)
def test_odd_data_give_a_finite_map_that_keeps_the_order(logits: list[float], labels: list[float]) -> None:
    slope, intercept = fit_platt(logits, labels)
    assert slope > 0
    assert np.isfinite([slope, intercept]).all()


def test_a_bent_map_is_found_where_rows_are_many() -> None:
    """Two slopes: a line is wrong at both ends."""
    rng = np.random.default_rng(1)
    logits = rng.normal(size=20_000) * 2
    labels = rng.random(20_000) < 1 / (1 + np.exp(-np.where(logits < 0, 0.1, 2.0) * logits))
    line = Calibration({"t": Curve.line(*fit_platt(logits, labels))})
    bent = Calibration({"t": fit_curve(logits, labels)})
    errors = [ece(c.probability("t", logits), labels) for c in (line, bent)]
    assert errors[1] < 0.015 < 0.03 < errors[0]


def test_few_rows_give_a_line() -> None:
    logits, labels = drawn(0.5, 0.5, count=100)
    assert fit_curve(logits, labels) == Curve.line(*fit_platt(logits, labels))


def test_falling_rates_are_pooled_and_the_order_of_logits_stays() -> None:
    logits, labels = drawn(-2.0, 0.0, count=5_000)
    p = Calibration({"t": fit_curve(logits, labels)}).probability("t", np.linspace(-9, 9, 200))
    assert (np.diff(p) > 0).all()
    assert p[0] == pytest.approx(p[-1], abs=0.1)


def test_a_curve_comes_back_from_its_manifest() -> None:
    calibration = Calibration({"search": fit_curve(*drawn(0.3, -2.0))})
    assert Calibration.from_json(calibration.to_json()) == calibration


@pytest.mark.parametrize(
    "entry", [[1.0], [0.0, [0.0], [0.0]], [1.0, [], []], [1.0, [0.0, 0.0], [0.0, 1.0]], [1.0, [0.0, 1.0], [0.0]]]
)
def test_a_curve_that_does_not_rise_is_refused(entry: list[object]) -> None:
    with pytest.raises((ValueError, TypeError)):
        Calibration.from_json({"search": entry})


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(-30, 30), st.booleans()), min_size=1, max_size=30), st.integers(1, 40))
def test_any_data_give_a_finite_map_that_keeps_the_order(rows: list[tuple[float, bool]], times: int) -> None:
    logits, labels = (np.repeat(column, times) for column in zip(*rows, strict=True))
    curve = fit_curve(logits, labels)
    assert np.isfinite([curve.slope, *curve.raw, *curve.calibrated]).all()
    p = Calibration.from_json(Calibration({"t": curve}).to_json()).probability("t", [-31.0, -1.0, 0.0, 1.0, 31.0])
    assert (np.diff(p) >= 0).all()


def test_a_task_without_a_map_uses_the_sigmoid() -> None:
    calibration = Calibration({"search": Curve.line(2.0, 1.0)})
    assert calibration.probability("homepage", [0.0]).tolist() == [0.5]
    assert calibration.probability("search", [0.0])[0] == pytest.approx(1 / (1 + np.exp(-1)))


def test_probabilities_of_extreme_logits_and_shapes() -> None:
    calibration = Calibration({})
    p = calibration.probability("t", np.array([[-1e30, 0.0], [1e30, np.nan]]))
    assert p.shape == (2, 2)
    assert 0 <= p[0, 0] < 1e-9
    assert 1 - 1e-9 < p[1, 0] <= 1
    assert np.isnan(p[1, 1])
    assert calibration.probability("t", np.zeros(0)).shape == (0,)


# ---- users who like often, and users who seldom do ------------------------------------------------------------


def history(liked: int, passed: int) -> list[HistoryEvent]:
    return [HistoryEvent("e", label) for label in [0.0] * passed + [1.0] * liked]


def two_kinds_of_user() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Users with 18 of 20 events liked and with 2 of 20; the network knows nothing of it."""
    rng = np.random.default_rng(4)
    logits, often = rng.normal(size=20_000), rng.random(20_000) < 0.5
    labels = rng.random(20_000) < 1 / (1 + np.exp(-logits - np.where(often, 1.5, -1.5)))
    return logits, labels, np.where(often, liking(history(18, 2)), liking(history(2, 18)))


def test_liking_by_hand() -> None:
    assert liking([]) == 0.0
    assert liking(history(3, 3)) == 0.0
    assert liking(history(6, 0)) == pytest.approx(np.log(8 / 2))
    assert liking(history(0, 6)) == pytest.approx(-np.log(8 / 2))


def test_each_kind_of_user_is_calibrated() -> None:
    logits, labels, likings = two_kinds_of_user()
    plain = Calibration({"t": fit_curve(logits, labels)})
    fitted = Calibration({"t": fit_curve_of_users(logits, labels, likings, newest=20)})
    for liked, passed in ((18, 2), (2, 18)):
        rows = likings == liking(history(liked, passed))
        before, after = (
            ece(c.probability("t", logits[rows], history(liked, passed)), labels[rows]) for c in (plain, fitted)
        )
        assert before is not None
        assert after is not None
        assert after < 0.03 < 0.2 < before


def test_a_history_moves_all_candidates_and_keeps_their_order() -> None:
    calibration = Calibration({"t": fit_curve_of_users(*two_kinds_of_user(), newest=20)})
    some = [calibration.probability("t", np.linspace(-9, 9, 50), h) for h in ((), history(9, 1), history(1, 9))]
    assert all((np.diff(p) > 0).all() for p in some)
    assert (some[2] < some[0]).all()
    assert (some[0] < some[1]).all()


def test_only_the_newest_events_count() -> None:
    """The service knows no more of a user than these; evaluation, which does, must give the same."""
    calibration = Calibration({"t": Curve(1.0, (0.0,), (0.0,), weight=1.0, newest=4)})
    long, short = history(4, 30), history(4, 0)
    assert calibration.probability("t", [0.3], long) == calibration.probability("t", [0.3], short)
    assert calibration.probability("t", [0.0], short) == pytest.approx(6 / 8)


@pytest.mark.parametrize("count", [40, 20_000])
def test_few_rows_or_one_kind_of_label_give_no_weight(count: int) -> None:
    logits, labels, likings = (column[:count] for column in two_kinds_of_user())
    assert (fit_curve_of_users(logits, labels, likings, 20).weight > 0) == (count > 40)
    assert fit_curve_of_users(logits, np.ones(count), likings, 20).weight == 0


def test_where_all_users_like_alike_there_is_no_weight() -> None:
    logits, labels = drawn(0.5, 0.5)
    assert fit_curve_of_users(logits, labels, np.full(len(logits), 0.7), 20).weight == 0


def test_a_weight_comes_back_from_its_manifest_and_older_ones_have_none() -> None:
    calibration = Calibration({"t": fit_curve_of_users(*two_kinds_of_user(), newest=20)})
    table = calibration.to_json()
    assert Calibration.from_json(table) == calibration
    assert calibration.curves["t"].weight > 0
    assert Calibration.from_json({"t": table["t"][:3]}).curves["t"].weight == 0
    for wrong in ([float("nan"), 20], [1.0, 0]):
        with pytest.raises(ValueError, match="finite weight"):
            Calibration.from_json({"t": [*table["t"][:3], *wrong]})
