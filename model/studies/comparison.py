"""Whether one model is better than another on the same rankings: paired bootstrap and Holm's correction. Pure.

The values of a model are [S, R], a row for each seed that it was trained with; a model of one run may give [R]. Seeds
are drawn with replacement like rankings are, so an interval holds for another training, not only for these.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from model.evaluation.metrics import Interval

Floats = NDArray[np.float64]
Sums = tuple[Floats, Floats, Floats]  # ours [S, G], theirs [S', G], rankings [G]
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


def seed_mean(values: Floats) -> Floats:
    """Mean over seeds of the values [S, R] or [R] of each ranking [R]; NaN if it is NaN in every seed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a ranking that is NaN in every seed
        return np.asarray(np.nanmean(np.atleast_2d(values), axis=0))


def interval(values: Floats, groups: Sequence[str], draws: int = DRAWS, seed: int = 0) -> Interval:
    """Mean of the values of one model, with its 95 % interval over seeds and groups. Raises ValueError without any."""
    means = _drawn_means([_sums(values, values, groups)], draws, seed, same_runs=True)[:, 0]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(np.nanmean(seed_mean(values))), float(low), float(high)


def paired(
    ours: Floats, theirs: Floats, groups: Sequence[str], draws: int = DRAWS, seed: int = 0, same_runs: bool = False
) -> Difference:
    """Paired bootstrap over groups: all rankings [R] of a user or query are drawn together.

    Seeds of the two models are drawn apart, or together if both are the `same_runs`, evaluated in two ways.
    Rankings that lack a value on one side are left out. p = twice the smaller share of draws on one side of 0.
    """
    return paired_mean([ours], [theirs], [groups], draws, seed, same_runs)


def paired_mean(
    ours: Sequence[Floats],
    theirs: Sequence[Floats],
    groups: Sequence[Sequence[str]],
    draws: int = DRAWS,
    seed: int = 0,
    same_runs: bool = False,
) -> Difference:
    """The same for the mean over several protocols, with equal weights and separate draws of groups."""
    sums = [_sums(*columns) for columns in zip(ours, theirs, groups, strict=True)]
    drawn = _drawn_means(sums, draws, seed, same_runs)
    left, right = (float(np.mean([s[side].mean(0).sum() / s[2].sum() for s in sums])) for side in (0, 1))
    gap, ratio = drawn[:, 0] - drawn[:, 1], drawn[:, 0] / np.maximum(drawn[:, 1], 1e-12) - 1
    low, high = np.percentile(gap, [2.5, 97.5])
    relative_low, relative_high = np.percentile(ratio, [2.5, 97.5])
    tail = 2 * min(float((gap <= 0).mean()), float((gap >= 0).mean()))
    return Difference(
        left - right, float(low), float(high), left / max(right, 1e-12) - 1, float(relative_low), float(relative_high),
        min(1.0, max(tail, 1 / draws)), sum(s[2].size for s in sums),
    )  # fmt: skip


def _sums(ours: Floats, theirs: Floats, groups: Sequence[str]) -> Sums:
    """Values of both models by seed, [S, G] each, and number of rankings [G], summed by group.

    A value that one seed lacks is the mean of the others.
    """
    means = [seed_mean(values) for values in (ours, theirs)]
    both = np.isfinite(means[0]) & np.isfinite(means[1])
    if not both.any():
        raise ValueError("paired expects at least one ranking with a value on both sides")
    _, places = np.unique(np.array(groups, dtype=object)[both].astype(str), return_inverse=True)
    filled = (np.where(np.isnan(v), m, v) for v, m in zip((ours, theirs), means, strict=True))
    rows = (np.atleast_2d(values)[:, both] for values in filled)
    left, right = (np.array([np.bincount(places, row) for row in values], np.float64) for values in rows)
    return left, right, np.bincount(places).astype(np.float64)


def _drawn_means(protocols: Sequence[Sums], draws: int, seed: int, same_runs: bool) -> Floats:
    """Means of both models over drawn seeds and groups, averaged over protocols. [draws, 2]

    A draw takes the same seeds in every protocol, since one training gives them all.
    """
    rng = np.random.default_rng([seed, 1])
    ours, theirs = (_drawn_shares(rng, len(side), draws) for side in protocols[0][:2])
    shares = (ours, ours if same_runs else theirs)
    return np.asarray(np.mean([_resampled_means(s, shares, seed + place) for place, s in enumerate(protocols)], axis=0))


def _drawn_shares(rng: np.random.Generator, seeds: int, draws: int) -> Floats:
    """Share of each seed in S draws with replacement from S seeds. [draws, S]"""
    return rng.multinomial(seeds, np.full(seeds, 1 / seeds), draws) / seeds


def _resampled_means(sums: Sums, shares: tuple[Floats, Floats], seed: int) -> Floats:
    """Means of both models over resampled groups, with the drawn shares of their seeds. → [draws, 2]"""
    rng, rankings = np.random.default_rng(seed), sums[2]
    parts = []
    for start in range(0, len(shares[0]), _DRAWS_AT_ONCE):
        drawn = [side[start : start + _DRAWS_AT_ONCE] for side in shares]
        groups = rng.integers(0, rankings.size, (len(drawn[0]), rankings.size))
        totals = [(values[:, groups].sum(-1).T * share).sum(1) for values, share in zip(sums, drawn, strict=False)]
        parts.append(np.stack(totals, axis=1) / rankings[groups].sum(1, keepdims=True))
    return np.concatenate(parts)


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """Step-down adjusted p-values (Holm 1979)."""
    adjusted: dict[str, float] = {}
    highest = 0.0
    for place, (name, value) in enumerate(sorted(p.items(), key=lambda item: item[1])):
        highest = max(highest, min(1.0, (len(p) - place) * value))
        adjusted[name] = highest
    return adjusted
