"""Ranking metrics as pure functions of one ranking, and the bootstrap over many. Knows no model and no files.

A ranking is `scores` [C] and `labels` [C]: label > 0 = positive engagement of that grade, else none. Ties count
against the model: among equal scores the lower labels come first, and scores that are not finite come last. A
metric that is undefined for a ranking (no positive, nothing to compare) is None, never 0.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Interval = tuple[float, float, float]  # mean, low, high

_CELLS = 4_000_000  # resampled values that the bootstrap holds at once: 32 MB


def ranks_of_positives(scores: ArrayLike, labels: ArrayLike) -> tuple[Ints, Floats]:
    """Ranks [P], from 1 and ascending, of the positives, and their grades [P]. Ties are broken against them.

    >>> ranks_of_positives([0.9, 0.5, 0.5], [0, 1, 0])
    (array([3]), array([1.]))
    """
    s, y = _ranking(scores, labels)
    positive = y > 0
    gains, positive_scores = y[positive], s[positive]
    order = np.lexsort((gains, -positive_scores))
    positive_scores = positive_scores[order]
    others = np.sort(s[~positive])
    others_before = others.size - np.searchsorted(others, positive_scores, side="left")
    ranks = np.arange(1, positive_scores.size + 1, dtype=np.int64) + others_before
    return ranks, gains[order]


def ranked(scores: ArrayLike, labels: ArrayLike) -> Ints:
    """Indices [C], best first: the order that the metrics assume, ties and scores that are not finite included.

    >>> ranked([0.9, 0.5, 0.5], [0, 1, 0])
    array([0, 2, 1])
    """
    s, y = _ranking(scores, labels)
    return np.lexsort((y, -s))


def ndcg(scores: ArrayLike, labels: ArrayLike, k: int = 10) -> float | None:
    """NDCG@k with linear gain and discount log2(rank + 1), ideal over all positives, as in trec_eval."""
    ranks, gains = ranks_of_positives(scores, labels)
    if not ranks.size:
        return None
    seen = ranks <= k
    gained = np.sum(gains[seen] / np.log2(ranks[seen] + 1))
    best = -np.sort(-gains)[:k]
    return float(gained / np.sum(best / np.log2(np.arange(2, best.size + 2))))


def mrr(scores: ArrayLike, labels: ArrayLike) -> float | None:
    """Reciprocal rank of the first positive; its mean over rankings is MRR."""
    ranks, _ = ranks_of_positives(scores, labels)
    return float(1.0 / ranks[0]) if ranks.size else None


def recall(scores: ArrayLike, labels: ArrayLike, k: int = 30) -> float | None:
    """Share of the positives that are among the first k."""
    ranks, _ = ranks_of_positives(scores, labels)
    return float(np.mean(ranks <= k)) if ranks.size else None


def auc(scores: ArrayLike, labels: ArrayLike) -> float | None:
    """Share of (positive, other) pairs in the right order, ties counting ½. None unless both kinds of label occur.

    >>> auc([0.9, 0.5, 0.5], [0, 1, 0])
    0.25
    """
    s, y = _ranking(scores, labels)
    positives, others = s[y > 0], np.sort(s[y <= 0])
    if not positives.size or not others.size:
        return None
    below = np.searchsorted(others, positives, side="left")
    up_to = np.searchsorted(others, positives, side="right")
    return float(np.mean(below + up_to) / (2 * others.size))


def ece(probabilities: ArrayLike, labels: ArrayLike, bins: int = 15) -> float | None:
    """Expected calibration error: mean |stated - observed| over equal-width bins of [0, 1], weighted by rows.

    None unless both kinds of label occur. Raises ValueError for values that are not probabilities.
    Source: Guo et al., ICML 2017, eq. 3.
    """
    p, y = _pair(probabilities, labels)
    if not np.all((p >= 0) & (p <= 1)):
        raise ValueError("ece expects probabilities from 0 to 1, got a value outside or not a number")
    positive = y > 0
    if not positive.any() or positive.all():
        return None
    bin_of_row = np.minimum((p * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(bin_of_row, weights=p - positive, minlength=bins)
    return float(np.abs(gaps).sum() / p.size)


def top_k(scores: ArrayLike, k: int) -> Ints:
    """Indices [≤ k] of the highest finite scores, best first, ties in input order."""
    s = np.asarray(scores, dtype=np.float64)
    ranked = np.flatnonzero(np.isfinite(s))
    if ranked.size > k:
        threshold = np.partition(s[ranked], ranked.size - k)[ranked.size - k]
        ranked = ranked[s[ranked] >= threshold]
    return ranked[np.argsort(-s[ranked], kind="stable")][:k]


def novelty(top: ArrayLike, popularity: ArrayLike) -> float | None:
    """Mean self-information of the entities `top` [K], in bits: -log2 of their share of all events.

    `popularity` [N] counts the events of each entity of the catalogue; an entity without events counts as one
    event, so that the value stays finite. None if nothing is recommended or counted.
    Source: Vargas & Castells, RecSys 2011.
    """
    counts = np.asarray(popularity, dtype=np.float64)
    indices = np.asarray(top, dtype=np.int64)
    total = counts.sum()
    if not indices.size or total <= 0:
        return None
    shares = np.maximum(counts[indices], 1.0) / max(total, 1.0)
    return float(np.mean(-np.log2(shares)))


def coverage(tops: Iterable[ArrayLike], n_entities: int) -> float | None:
    """Share of the catalogue that appears in at least one top-k list. None without a list or a catalogue."""
    lists = [np.asarray(top, dtype=np.int64) for top in tops]
    if not lists or n_entities <= 0:
        return None
    return float(np.unique(np.concatenate(lists)).size / n_entities)


def bootstrap_interval(
    values: ArrayLike, groups: ArrayLike | None = None, draws: int = 1000, seed: int = 0
) -> Interval:
    """Mean of `values` [R], one per ranking, with its percentile bootstrap 95 % interval.

    With `groups` [R] (user ids: numbers or strings) whole groups are drawn, since rankings of one user
    are correlated. Raises ValueError without values or if one is not finite.
    """
    v = np.asarray(values, dtype=np.float64)
    if v.ndim != 1 or not v.size or not np.all(np.isfinite(v)):
        raise ValueError(f"bootstrap expects finite values [R], R ≥ 1, got shape {v.shape} or a gap")
    sums, counts = _per_group(v, groups)
    low, high = np.percentile(_resampled_means(sums, counts, draws, seed), [2.5, 97.5])
    return float(v.mean()), float(low), float(high)


def paired_difference(
    a: ArrayLike, b: ArrayLike, draws: int = 1000, seed: int = 0, groups: ArrayLike | None = None
) -> Interval:
    """Mean of a - b over the same rankings [R], with its paired bootstrap 95 % interval."""
    left, right = _pair(a, b)
    return bootstrap_interval(left - right, groups, draws, seed)


def _pair(a: ArrayLike, b: ArrayLike) -> tuple[Floats, Floats]:
    left, right = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if left.ndim != 1 or left.shape != right.shape:
        raise ValueError(f"expected two arrays of one length, got shapes {left.shape} and {right.shape}")
    return left, right


def _ranking(scores: ArrayLike, labels: ArrayLike) -> tuple[Floats, Floats]:
    s, y = _pair(scores, labels)
    return np.where(np.isfinite(s), s, -np.inf), y


def _per_group(values: Floats, groups: ArrayLike | None) -> tuple[Floats, Floats]:
    """Sum and number of the values of each group [G]; without groups each value is its own group."""
    if groups is None:
        return values, np.ones_like(values)
    keys = np.asarray(groups)
    if keys.shape != values.shape:
        raise ValueError(f"expected one group for each value, got shapes {keys.shape} and {values.shape}")
    _, inverse = np.unique(keys, return_inverse=True)
    sums = np.bincount(inverse, weights=values).astype(np.float64)
    return sums, np.bincount(inverse).astype(np.float64)


def _resampled_means(sums: Floats, counts: Floats, draws: int, seed: int) -> Floats:
    """Means of the values of G groups, drawn with replacement from the G groups. [draws]"""
    rng = np.random.default_rng(seed)
    means = np.empty(draws)
    step = max(1, _CELLS // sums.size)
    for start in range(0, draws, step):
        drawn = rng.integers(sums.size, size=(min(step, draws - start), sums.size))
        means[start : start + step] = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return means
