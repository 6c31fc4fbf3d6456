"""What people did, as features: popularity, and co-engagement in a space of low rank.

The co-engagement space is EASE (Steck 2019) written as vectors. Take the user × entity matrix of engagements, where
a like is 1 and what was met and not liked is less, its singular values s and right singular vectors V, and a ridge λ,
and put z_j = V_j · s / √(s² + λ); then the EASE weight of entity i for entity j is z_i·z_j / (1 − |z_j|²), exactly at
full rank. So a history becomes one vector, a candidate one dot product, whatever the size of the catalogue.

Outcomes are out of fold in training: table f < folds leaves out the users of fold f, table `folds` has everyone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from model.text.factorise import truncated_svd
from model.text.normalise import stable_hash

Floats = NDArray[np.float32]
Halves = NDArray[np.float16]
Ints = NDArray[np.int64]
Weights = NDArray[np.float64]
TASTE_PRIOR = 50.0  # likes of everybody that the taste of a country begins with


@dataclass(frozen=True, slots=True)
class Engagement:
    """One table of outcomes: vectors z [N, Dz], inverse = 1/(1 − |z|²) [N], popularity = ln(1 + positives) [N].

    The vectors are at half precision, also where they are kept in single.
    """

    vectors: Floats | Halves
    inverse: Floats
    popularity: Floats

    def take(self, rows: Ints) -> Engagement:
        """The named entities; row -1 stands for one that nobody has engaged with."""
        known = rows >= 0
        return Engagement(
            self.vectors[rows].astype(np.float32) * known[:, None],
            np.where(known, self.inverse[rows], np.float32(1.0)),
            self.popularity[rows] * known,
        )


def fold_of(key: str, folds: int) -> int:
    """The fold of a user."""
    return stable_hash(f"fold {key}") % folds


def folds_of(keys: Sequence[str], folds: int) -> Ints:
    """The fold of each of M users; every one is hashed once. [M]"""
    names, codes = np.unique(np.array(keys, dtype=object), return_inverse=True)
    return np.array([fold_of(str(name), folds) for name in names], np.int64)[codes]


def fit(
    users: Ints, entities: Ints, entity_count: int, rank: int, ridge: float, seed: int, weights: Weights | None = None
) -> Engagement:
    """From (user, entity) pairs [M] → tables over `entity_count` entities.

    Weight 1 = liked, as all are where weights are left out; pairs that weigh less are no popularity.
    """
    weights = np.ones(len(users)) if weights is None else weights
    popularity = np.log1p(np.bincount(entities[weights >= 1], minlength=entity_count)).astype(np.float32)
    vectors = np.zeros((entity_count, rank), np.float32)
    if len(users):
        _, dense_users = np.unique(users, return_inverse=True)
        pairs, place = np.unique(np.stack([dense_users, entities]), axis=1, return_inverse=True)
        strongest = np.zeros(pairs.shape[1], np.float32)
        np.maximum.at(strongest, place.ravel(), weights)
        matrix = torch.sparse_coo_tensor(
            torch.from_numpy(pairs),
            torch.from_numpy(strongest),
            (int(pairs[0].max()) + 1, entity_count),
            check_invariants=False,
        ).coalesce()
        values, right = truncated_svd(matrix, rank, seed)
        scaled = right * (values / torch.sqrt(values**2 + ridge))
        vectors[:, : scaled.shape[1]] = scaled.numpy()
    rounded = vectors.astype(np.float16).astype(np.float32)  # the precision of a packed record
    inverse = 1.0 / np.maximum(1.0 - (rounded**2).sum(1), 0.05)
    return Engagement(rounded, inverse.astype(np.float32), popularity)


def tastes(table: Engagement, entities: Ints, places: Ints, countries: int) -> Floats:
    """What each country likes more than all do: a profile in the space of a table. [countries, Dz]

    From likes [M] of entities by people of countries; the mean of few likes is pulled towards that of all.
    """
    result = np.zeros((countries, table.vectors.shape[1]), np.float32)
    vectors = table.vectors[entities].astype(np.float32)
    overall = vectors.mean(0) if len(vectors) else 0.0
    for country in range(countries):
        own = vectors[places == country]
        if len(own):
            result[country] = (own.mean(0) - overall) * (len(own) / (len(own) + TASTE_PRIOR))
    return result


def fit_folds(
    users: Sequence[str],
    entities: Ints,
    entity_count: int,
    rank: int,
    ridge: float,
    folds: int,
    seed: int,
    say: Callable[[str], None] = lambda _: None,
    weights: Weights | None = None,
) -> list[Engagement]:
    """Tables 0…folds-1 without the users of that fold, and last the one of everybody.

    Popularity of a partial table is scaled up to the size of the whole.
    """
    weights = np.ones(len(users)) if weights is None else weights
    _, codes = np.unique(np.array(users, dtype=object), return_inverse=True)
    fold = folds_of(users, folds)
    tables = []
    for left_out in range(folds + 1):
        say(f"co-engagement {left_out + 1} of {folds + 1}")
        kept = fold != left_out
        table = fit(codes[kept], entities[kept], entity_count, rank, ridge, seed, weights[kept])
        share = max(float(kept[weights >= 1].mean()), 1e-6) if (weights >= 1).any() else 1.0
        popularity = np.log1p(np.expm1(table.popularity) / share).astype(np.float32)
        tables.append(Engagement(table.vectors, table.inverse, popularity))
    return tables
