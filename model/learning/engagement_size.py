"""Chooses rank and ridge of the co-engagement space on the validation part of a dataset. Trains no network.

One factorisation at the largest rank gives all smaller ones. A candidate predicts the later likes of each user from the
earlier ones, as EASE does; the smallest space whose order is nearly the best is chosen, since each dimension
costs memory and time in serving.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.events.engagement import user_entity_matrix
from model.text.factorise import truncated_svd

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
RANKS = (64, 96, 160, 256)
RIDGES = (30.0, 100.0, 300.0, 1000.0, 3000.0, 10_000.0)
DEFAULT = (96, 300.0)  # without validation rows
NEAR = 0.98  # share of the best value that a smaller space must reach: less is noise
DEPTH = 100
AT_ONCE = 64  # users: their scores of the whole catalogue are held in memory
USERS = 1_000  # at most, whose later likes are predicted
FEWEST = 20  # users; fewer say too little


@dataclass(frozen=True, slots=True)
class LaterLikes:
    """The earlier likes of a user, oldest first, and the later ones, as rows of the catalogue."""

    earlier: Ints
    later: Ints


def choose_size(
    users: Ints, entities: Ints, weights: NDArray[np.float64], count: int, tests: list[LaterLikes], seed: int
) -> tuple[int, float]:
    """Rank and ridge for engagements (user, entity, weight) [M] over `count` entities."""
    tests = [test for test in tests if len(test.earlier) and len(test.later)]
    if len(tests) < FEWEST:
        return DEFAULT
    chosen = np.random.default_rng(seed).permutation(len(tests))[:USERS]
    values, right = truncated_svd(user_entity_matrix(users, entities, weights, count), max(RANKS), seed)
    singular, vectors = values.numpy(), right.numpy().astype(np.float32)
    sample = [tests[number] for number in chosen]
    values_by_size: dict[tuple[int, float], float] = {}
    for rank in [rank for rank in RANKS if rank <= max(len(singular), RANKS[0])]:
        for ridge in RIDGES:
            scale = singular[:rank] / np.sqrt(singular[:rank] ** 2 + ridge)
            values_by_size[rank, ridge] = _value((vectors[:, :rank] * scale).astype(np.float32), sample)
    return smallest_near_best(values_by_size)


def smallest_near_best(values: Mapping[tuple[int, float], float]) -> tuple[int, float]:
    """The best ridge of the smallest rank that is near the best.

    >>> smallest_near_best({(32, 1.0): 0.30, (64, 1.0): 0.398, (64, 9.0): 0.3, (96, 1.0): 0.40})
    (64, 1.0)
    """
    best = max(values.values())
    rank = min(rank for (rank, _), value in values.items() if value >= NEAR * best)
    return max((size for size in values if size[0] == rank), key=lambda size: values[size])


def _value(z: Floats, tests: Sequence[LaterLikes]) -> float:
    """Mean NDCG@`DEPTH` of the later likes of users, `AT_ONCE` users at a time."""
    inverse = 1.0 / np.maximum(1.0 - (z**2).sum(1), 0.05)
    gains: list[float] = []
    for start in range(0, len(tests), AT_ONCE):
        part = tests[start : start + AT_ONCE]
        scores = np.stack([_profile(z, test.earlier) for test in part]) @ z.T * inverse
        gains += [_ndcg(row, test) for row, test in zip(scores, part, strict=True)]
    return float(np.mean(gains))


def _profile(z: Floats, earlier: Ints) -> Floats:
    """The history as the retrieval of candidates sums it, the newest most."""
    age = np.arange(len(earlier))[::-1]
    return np.asarray((0.9**age + 0.1).astype(np.float32) @ z[earlier])


def _ndcg(scores: Floats, test: LaterLikes) -> float:
    scores[test.earlier] = -np.inf
    depth = min(DEPTH, len(scores))
    top = np.argpartition(-scores, depth - 1)[:depth]
    found = np.isin(top[np.argsort(-scores[top])], test.later)
    discounts = 1 / np.log2(np.arange(2, depth + 2))
    return float(discounts[found].sum() / discounts[: len(np.unique(test.later))].sum())
