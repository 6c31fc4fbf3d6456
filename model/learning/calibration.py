"""From logits to P(positive engagement), per task: a rising curve, fitted on validation rows, part of the artefact.

Platt scaling gives a line; with enough rows, it is bent towards the observed rates of equal shares of them. Users
differ in how often they like, so the logit first moves by a weight times the `liking` of the history. That is the same
for all candidates of a context and changes no order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model.context.context import HistoryEvent

Floats = NDArray[np.float64]
IDENTITY = (1.0, 0.0)
MIN_SLOPE = 1e-3  # the map must keep the order of logits
MOST_KNOTS = 16
ROWS_A_KNOT = 150  # fewer give too uncertain a rate
PRIOR_ROWS = 20.0  # weight of the line in the rate of a knot, in rows
LEAST_SPREAD = 1e-3  # of likings; a smaller one is rounding
PRIOR_EVENTS = 4.0  # prior weight of a liked share of one half, in events
LEAST_RISE = 0.05  # share of the line's slope that is added everywhere, also where rates do not rise


@dataclass(frozen=True, slots=True)
class Curve:
    """Raw logits → calibrated logits: straight between knots, `slope` beyond them. One knot = a line.

    Raw logits first move by `weight` · `liking` of the `newest` events of the history.
    """

    slope: float
    raw: tuple[float, ...]  # rising
    calibrated: tuple[float, ...]  # rising
    weight: float = 0.0
    newest: int = 1

    @classmethod
    def line(cls, slope: float, intercept: float) -> Curve:
        """slope · logit + intercept."""
        return cls(slope, (0.0,), (intercept,))

    def __call__(self, logits: Floats) -> Floats:
        """Same shape; NaN stays NaN."""
        beyond = np.minimum(logits - self.raw[0], 0.0) + np.maximum(logits - self.raw[-1], 0.0)
        return np.asarray(np.interp(logits, self.raw, self.calibrated) + self.slope * beyond)


@dataclass(frozen=True, slots=True)
class Calibration:
    """P = sigmoid(curve(logit)), one curve per task; other tasks use the plain sigmoid."""

    curves: Mapping[str, Curve]
    shared: Curve | None = field(
        default=None, compare=False
    )  # one for all tasks: only a study asks, so it is not saved

    def probability(self, task: str, logits: ArrayLike, history: Sequence[HistoryEvent] = ()) -> Floats:
        """Calibrated probabilities for a user with this history, oldest event first; same shape. NaN stays NaN."""
        raw, curve = np.asarray(logits, np.float64), self.curves.get(task)
        if curve is None:
            return _sigmoid(raw)
        return _sigmoid(curve(raw + curve.weight * liking(history[-curve.newest :]) if curve.weight else raw))

    def to_json(self) -> dict[str, list[Any]]:
        """Plain lists, for the manifest."""
        return {t: [c.slope, list(c.raw), list(c.calibrated), c.weight, c.newest] for t, c in self.curves.items()}

    @classmethod
    def from_json(cls, table: Mapping[str, list[Any]]) -> Calibration:
        """The inverse of `to_json`. Raises ValueError, TypeError or IndexError for anything else."""
        return cls({task: _curve(*entry) for task, entry in table.items()})


def liking(events: Sequence[HistoryEvent]) -> float:
    """Log odds of the share of events that are liked, shrunk towards one half: 0 without events."""
    liked = sum(event.label > 0 for event in events)
    return float(np.log((liked + PRIOR_EVENTS / 2) / (len(events) - liked + PRIOR_EVENTS / 2)))


def _curve(
    slope: float, raw: list[float], calibrated: list[float], weight: float = 0.0, newest: int = 1
) -> Curve:  # manifests of earlier trainings have no weight
    curve = Curve(float(slope), tuple(map(float, raw)), tuple(map(float, calibrated)), float(weight), int(newest))
    rising = all((np.diff(values) > 0).all() for values in (curve.raw, curve.calibrated))
    if curve.newest < 1 or not np.isfinite(curve.weight):
        raise ValueError("a calibration curve has a finite weight and reads at least one event")
    if not raw or len(raw) != len(calibrated) or not rising or slope <= 0:
        raise ValueError(
            "a calibration curve rises: as many calibrated as raw logits, at least one, and a slope above 0"
        )
    return curve


def fit_curve(logits: ArrayLike, labels: ArrayLike) -> Curve:
    """The line of `fit_platt`, bent towards the rates of equal shares of the rows; it is strictly increasing.

    Rates are smoothed by the line and made monotone by pooling adjacent violators (Ayer et al. 1955).
    """
    x, y = np.asarray(logits, np.float64), np.asarray(labels, np.float64) > 0
    slope, intercept = fit_platt(x, y)
    knots = min(MOST_KNOTS, len(x) // ROWS_A_KNOT)
    if knots < 2 or y.all() or not y.any():
        return Curve.line(slope, intercept)
    shares = np.array_split(np.argsort(x, kind="stable"), knots)
    raw = np.array([x[share].mean() for share in shares])
    expected = _sigmoid(slope * raw + intercept)
    rows = np.array([len(share) for share in shares], np.float64)
    rates = (np.array([y[share].sum() for share in shares]) + PRIOR_ROWS * expected) / (rows + PRIOR_ROWS)
    pooled = _pool_violators(rates, rows)
    bent = np.log(pooled) - np.log1p(-pooled) + LEAST_RISE * slope * (raw - raw.mean())
    distinct = np.append(True, (np.diff(raw) > 0) & (np.diff(bent) > 0))
    return Curve(slope, tuple(raw[distinct].tolist()), tuple(bent[distinct].tolist()))


def fit_curve_of_users(logits: ArrayLike, labels: ArrayLike, likings: ArrayLike, newest: int) -> Curve:
    """The curve of `fit_curve`, and the weight of the `liking` of each row's user over the `newest` events. All [R].

    Few rows, one kind of label, users who like alike or logits without use give no weight.
    """
    x, y, user = np.asarray(logits, np.float64), np.asarray(labels, np.float64) > 0, np.asarray(likings, np.float64)
    weight = 0.0
    if len(x) >= 2 * ROWS_A_KNOT and y.any() and not y.all() and np.ptp(user) > LEAST_SPREAD:
        slopes, _ = _regression(np.stack([x, user], axis=1), y)
        weight = float(slopes[1] / slopes[0]) if slopes[0] > MIN_SLOPE else 0.0
    return replace(fit_curve(x + weight * user, y), weight=weight, newest=newest)


def _pool_violators(rates: Floats, weights: Floats) -> Floats:
    """The nearest non-decreasing rates by weighted least squares."""
    blocks: list[tuple[float, float, int]] = []  # rate, weight, knots
    for rate, weight in zip(rates.tolist(), weights.tolist(), strict=True):
        block = (rate, weight, 1)
        while blocks and blocks[-1][0] >= block[0]:
            previous = blocks.pop()
            total = previous[1] + block[1]
            block = ((previous[0] * previous[1] + block[0] * block[1]) / total, total, previous[2] + block[2])
        blocks.append(block)
    return np.repeat([rate for rate, _, _ in blocks], [count for _, _, count in blocks])


def _sigmoid(logits: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -60, 60))))


def fit_platt(logits: ArrayLike, labels: ArrayLike, steps: int = 50) -> tuple[float, float]:
    """Slope and intercept by Newton's method on the log loss with Platt's smoothed targets (Platt 1999).

    Returns the identity if all labels are the same.
    """
    x, y = np.asarray(logits, np.float64), np.asarray(labels, np.float64) > 0
    if y.all() or not y.any():
        return IDENTITY
    slopes, intercept = _regression(x[:, None], y, steps)
    slope = max(float(slopes[0]), MIN_SLOPE)
    return slope, intercept + (float(slopes[0]) - slope) * float(x.mean())


def _regression(columns: Floats, y: NDArray[np.bool_], steps: int = 50) -> tuple[Floats, float]:
    """Slopes [K] and intercept of a logistic regression on columns [R, K], for labels of both kinds."""
    positives, negatives = int(y.sum()), int((~y).sum())
    target = np.where(y, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    mean, deviation = columns.mean(0), np.maximum(columns.std(0), 1e-9)
    design = np.column_stack([(columns - mean) / deviation, np.ones(len(y))])
    weights = np.append(np.zeros(len(mean)), np.log((positives + 1) / (negatives + 1)))
    for _ in range(steps):
        weights = _newton_step(design, target, weights)
    slopes = weights[:-1] / deviation
    return slopes, float(weights[-1] - slopes @ mean)


def _newton_step(design: Floats, target: Floats, weights: Floats) -> Floats:
    """One step of Newton's method, halved until the loss does not increase."""
    p = _sigmoid(design @ weights)
    curvature = design.T @ (design * (p * (1 - p) + 1e-9)[:, None]) + 1e-9 * len(design) * np.eye(len(weights))
    move = np.linalg.solve(curvature, design.T @ (p - target))
    loss = _loss(design, target, weights)
    for _ in range(30):
        if _loss(design, target, weights - move) <= loss:
            return np.asarray(weights - move)
        move = move / 2
    return weights


def _loss(design: Floats, target: Floats, weights: Floats) -> float:
    logits = design @ weights
    return float((np.logaddexp(0.0, logits) - target * logits).mean())
