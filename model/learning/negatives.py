"""Random entities as negatives, and how likely each was drawn. Knows no context."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


class Negatives:
    """Draws random entities of one task: half uniformly, half by popularity^0.75. Gives the log-Q of each."""

    def __init__(self, positives: Ints, entity_count: int) -> None:
        weight = np.bincount(positives, minlength=entity_count).astype(np.float64) ** 0.75
        share = weight / weight.sum() if weight.sum() else np.full(entity_count, 1 / entity_count)
        q = 0.5 / entity_count + 0.5 * share
        self._cumulative = np.cumsum(q)
        self._log_q = np.log(q).astype(np.float32)

    def draw(self, count: int, rng: np.random.Generator) -> Ints:
        """`count` rows, drawn by q with replacement."""
        draws = np.searchsorted(self._cumulative, rng.random(count) * self._cumulative[-1])
        return np.asarray(np.minimum(draws, len(self._log_q) - 1), np.int64)

    def log_q(self, rows: Ints, draws: int) -> Floats:
        """Log of the expected number of times that `draws` draws give each row."""
        return self._log_q[rows] + np.float32(np.log(draws))
