"""Exact nearest-neighbour search in the embedding space: one matrix product. `approximate.py` is faster."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class DenseIndex:
    """All entities in one matrix [N, D + Dz], which may be a view of a mapped file."""

    def __init__(self, matrix: Floats) -> None:
        self.matrix = np.ascontiguousarray(matrix, np.float32)

    def __len__(self) -> int:
        return len(self.matrix)

    @property
    def width(self) -> int:
        """D + Dz."""
        return int(self.matrix.shape[1])

    def search(self, query: Floats, k: int, exclude: Collection[int] = ()) -> Ints:
        """Rows of the k highest dot products, best first, ties in row order. query [D + Dz]"""
        return best_rows(self.matrix @ query, k, exclude)


def best_rows(scores: Floats, k: int, exclude: Collection[int] = ()) -> Ints:
    """Rows of the k highest finite scores [N], best first. Sets the scores of excluded rows to -inf in place."""
    if exclude:
        scores[np.fromiter(exclude, np.int64, len(exclude))] = -np.inf
    scores = np.where(np.isfinite(scores), scores, -np.inf)
    k = min(k, len(scores))
    if not k:
        return np.zeros(0, np.int64)
    threshold = np.partition(scores, len(scores) - k)[len(scores) - k]
    rows = np.flatnonzero((scores >= threshold) & np.isfinite(scores))  # in row order, also for ties at the threshold
    return rows[np.argsort(-scores[rows], kind="stable")][:k]
