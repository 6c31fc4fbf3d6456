"""From logits to P(positive engagement), per task: Platt scaling, fitted on validation rows, part of the artefact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
IDENTITY = (1.0, 0.0)
MIN_SLOPE = 1e-3  # the map must keep the order of logits


@dataclass(frozen=True, slots=True)
class Calibration:
    """P = sigmoid(slope · logit + intercept), one pair a task; other tasks use the plain sigmoid."""

    pairs: Mapping[str, tuple[float, float]]

    def probability(self, task: str, logits: ArrayLike) -> Floats:
        """Calibrated probabilities, same shape. NaN stays NaN."""
        slope, intercept = self.pairs.get(task, IDENTITY)
        scaled = np.clip(slope * np.asarray(logits, np.float64) + intercept, -60, 60)
        return np.asarray(1 / (1 + np.exp(-scaled)))


def fit_platt(logits: ArrayLike, labels: ArrayLike, steps: int = 50) -> tuple[float, float]:
    """Slope and intercept by Newton's method on the log loss with Platt's smoothed targets (Platt 1999).

    Returns the identity where only one kind of label is there.
    """
    x, y = np.asarray(logits, np.float64), np.asarray(labels, np.float64) > 0
    positives, negatives = int(y.sum()), int((~y).sum())
    if not positives or not negatives:
        return IDENTITY
    target = np.where(y, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    mean, deviation = float(x.mean()), max(float(x.std()), 1e-9)
    design = np.stack([(x - mean) / deviation, np.ones_like(x)], axis=1)
    weights = np.array([0.0, np.log((positives + 1) / (negatives + 1))])
    for _ in range(steps):
        weights = _newton_step(design, target, weights)
    slope = max(float(weights[0]) / deviation, MIN_SLOPE)
    return slope, float(weights[1]) - slope * mean


def _newton_step(design: Floats, target: Floats, weights: Floats) -> Floats:
    """One step of Newton's method, halved until the loss does not grow."""
    p = 1 / (1 + np.exp(-np.clip(design @ weights, -60, 60)))
    curvature = design.T @ (design * (p * (1 - p) + 1e-9)[:, None]) + 1e-9 * len(design) * np.eye(2)
    move = np.linalg.solve(curvature, design.T @ (p - target))
    before = _loss(design, target, weights)
    for _ in range(30):
        if _loss(design, target, weights - move) <= before:
            return np.asarray(weights - move)
        move = move / 2
    return weights


def _loss(design: Floats, target: Floats, weights: Floats) -> float:
    logits = design @ weights
    return float((np.logaddexp(0.0, logits) - target * logits).mean())
