"""Whether one model is better than another on the same rankings: paired bootstrap and Holm's correction. Pure."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
DRAWS = 4000
_DRAWS_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Difference:
    """Ours minus theirs, with 95 % intervals; `relative` is the difference over theirs, p is two-sided."""

    value: float
    low: float
    high: float
    relative: float
    relative_low: float
    relative_high: float
    p: float
    groups: int

    def to_json(self) -> dict[str, float]:
        """A plain dictionary."""
        return asdict(self)


def seed_mean(values: Sequence[Floats]) -> Floats:
    """Mean over seeds of the values [R] of each ranking; NaN if it is NaN in every seed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a ranking that is NaN in every seed
        return np.asarray(np.nanmean(np.stack(list(values)), axis=0))


def paired(ours: Floats, theirs: Floats, groups: Sequence[str], draws: int = DRAWS, seed: int = 0) -> Difference:
    """Paired bootstrap over groups: all rankings [R] of a user or query are drawn together.

    Rankings that lack a value on one side are left out. p = twice the smaller share of draws on one side of 0.
    """
    return paired_mean([ours], [theirs], [groups], draws, seed)


def paired_mean(
    ours: Sequence[Floats], theirs: Sequence[Floats], groups: Sequence[Sequence[str]], draws: int = DRAWS, seed: int = 0
) -> Difference:
    """The same for the mean over several protocols, with equal weights and separate draws."""
    sums = [_sums(*columns) for columns in zip(ours, theirs, groups, strict=True)]
    drawn = np.mean([_resampled_means(s, draws, seed + place) for place, s in enumerate(sums)], axis=0)  # [draws, 2]
    left, right = (float(np.mean([s[side].sum() / s[2].sum() for s in sums])) for side in (0, 1))
    gap, ratio = drawn[:, 0] - drawn[:, 1], drawn[:, 0] / np.maximum(drawn[:, 1], 1e-12) - 1
    low, high = np.percentile(gap, [2.5, 97.5])
    relative_low, relative_high = np.percentile(ratio, [2.5, 97.5])
    tail = 2 * min(float((gap <= 0).mean()), float((gap >= 0).mean()))
    return Difference(
        left - right, float(low), float(high), left / max(right, 1e-12) - 1, float(relative_low), float(relative_high),
        min(1.0, max(tail, 1 / draws)), sum(s.shape[1] for s in sums),
    )  # fmt: skip


def _sums(ours: Floats, theirs: Floats, groups: Sequence[str]) -> Floats:
    """Values of both models and number of rankings, summed by group. [3, G]"""
    both = np.isfinite(ours) & np.isfinite(theirs)
    if not both.any():
        raise ValueError("paired expects at least one ranking with a value on both sides")
    _, places = np.unique(np.array(groups, dtype=object)[both].astype(str), return_inverse=True)
    count = int(places.max()) + 1
    columns = (ours[both], theirs[both], np.ones(int(both.sum())))
    return np.asarray(np.stack([np.bincount(places, weights, count) for weights in columns]), np.float64)


def _resampled_means(sums: Floats, draws: int, seed: int) -> Floats:
    """Means of both models over resampled groups. sums [3, G] = ours, theirs, rankings → [draws, 2]"""
    rng, count = np.random.default_rng(seed), sums.shape[1]
    parts = []
    for start in range(0, draws, _DRAWS_AT_ONCE):
        size = min(_DRAWS_AT_ONCE, draws - start)
        totals = sums[:, rng.integers(0, count, (size, count))].sum(-1)  # [3, size]
        parts.append((totals[:2] / totals[2]).T)
    return np.concatenate(parts)


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """Step-down adjusted p-values (Holm 1979)."""
    adjusted: dict[str, float] = {}
    highest = 0.0
    for place, (name, value) in enumerate(sorted(p.items(), key=lambda item: item[1])):
        highest = max(highest, min(1.0, (len(p) - place) * value))
        adjusted[name] = highest
    return adjusted
