"""Outcomes of user events as features: popularity, transitions, and co-engagement in a low-rank space.

The co-engagement space is EASE (Steck 2019) written as vectors. In the user × entity matrix of engagements, a like is 1
and an entity that was seen and not liked is less. Let s be its singular values, V its right singular vectors, λ a
ridge, and z_j = V_j · s / √(s² + λ). Then the EASE weight of entity i for entity j is z_i·z_j / (1 − |z_j|²), exact at
full rank. So a history becomes one vector and a candidate costs one dot product, for any size of the catalogue.

Outcomes are out of fold in training: table f < folds leaves out the users of fold f, table `folds` has all users.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from model.events.transitions import Transitions
from model.text.factorise import truncated_svd
from model.text.normalise import stable_hash

Floats = NDArray[np.float32]
Halves = NDArray[np.float16]
Ints = NDArray[np.int64]
Weights = NDArray[np.float64]
TASTE_PRIOR = 50.0  # prior weight, in likes, of the mean taste in the taste of a country


@dataclass(frozen=True, slots=True)
class Engagement:
    """One table of outcomes: vectors z [N, Dz], inverse = 1/(1 − |z|²) [N], popularity = ln(1 + positives) [N].

    The vectors have half precision, even where they are stored in single precision.
    """

    vectors: Floats | Halves
    inverse: Floats
    popularity: Floats
    transitions: Transitions

    def take(self, rows: Ints) -> Engagement:
        """The outcomes of these rows; row -1 = an entity without engagement."""
        known = rows >= 0
        return Engagement(
            self.vectors[rows].astype(np.float32) * known[:, None],
            np.where(known, self.inverse[rows], np.float32(1.0)),
            self.popularity[rows] * known,
            self.transitions.take(rows),
        )


def fold_of(key: str, folds: int) -> int:
    """The fold of a user."""
    return stable_hash(f"fold {key}") % folds


def folds_of(keys: Sequence[str], folds: int) -> Ints:
    """The fold of each of M users; each distinct user is hashed once. [M]"""
    names, codes = np.unique(np.array(keys, dtype=object), return_inverse=True)
    return np.array([fold_of(str(name), folds) for name in names], np.int64)[codes]


def fit(
    users: Ints, entities: Ints, entity_count: int, rank: int, ridge: float, seed: int, weights: Weights | None = None
) -> Engagement:
    """Fit one table over `entity_count` entities to (user, entity) pairs [M]; without transitions.

    Weight 1 = a like, the default of all pairs. Pairs with less weight do not count as popularity.
    """
    weights = np.ones(len(users)) if weights is None else weights
    popularity = np.log1p(np.bincount(entities[weights >= 1], minlength=entity_count)).astype(np.float32)
    vectors = np.zeros((entity_count, rank), np.float32)
    if len(users):
        values, right = truncated_svd(user_entity_matrix(users, entities, weights, entity_count), rank, seed)
        scaled = right * (values / torch.sqrt(values**2 + ridge))
        vectors[:, : scaled.shape[1]] = scaled.numpy()
    rounded = vectors.astype(np.float16).astype(np.float32)  # the precision of a packed record
    inverse = 1.0 / np.maximum(1.0 - (rounded**2).sum(1), 0.05)
    return Engagement(rounded, inverse.astype(np.float32), popularity, Transitions.none(entity_count, 0))


def user_entity_matrix(users: Ints, entities: Ints, weights: Weights, entity_count: int) -> torch.Tensor:
    """The engagements [M] as a sparse matrix [users, entities]; of equal pairs the strongest counts."""
    _, dense_users = np.unique(users, return_inverse=True)
    pairs, place = np.unique(np.stack([dense_users, entities]), axis=1, return_inverse=True)
    strongest = np.zeros(pairs.shape[1], np.float32)
    np.maximum.at(strongest, place.ravel(), weights)
    size = (int(pairs[0].max()) + 1, entity_count)
    return torch.sparse_coo_tensor(
        torch.from_numpy(pairs), torch.from_numpy(strongest), size, check_invariants=False
    ).coalesce()


def tastes(table: Engagement, entities: Ints, places: Ints, countries: int) -> Floats:
    """What users of each country like more than all users do, as vectors in the space of a table. [countries, Dz]

    Like m is of `entities[m]` by a user of country `places[m]`. A mean of few likes is shrunk towards the mean of all.
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
    """Tables 0…folds-1, each without the users of that fold, and last the table of all users.

    The popularity of a partial table is scaled up to that of all users.
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
        tables.append(replace(table, popularity=popularity))
    return tables
