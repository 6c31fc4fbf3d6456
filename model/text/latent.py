"""Frozen text vectors: a hashed table of words, word pairs and character n-grams, learned once from the catalogue.

Query and entity use the same table, so both are in one space, and unseen words still have their character n-grams.
The table comes from a truncated SVD of the hashed TF-IDF matrix of the catalogue (latent semantic analysis,
Deerwester et al. 1990). It uses no labels, so entities without judgements have useful vectors, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from model.text.factorise import truncated_svd
from model.text.normalise import pieces, stable_hash

Bag = tuple[NDArray[np.int64], NDArray[np.float32]]  # bucket ids, weights


def hashed_bag(named: Sequence[list[str]], described: Sequence[list[str]], buckets: int) -> Bag:
    """Logarithmic counts of hashed pieces. Word lists in `named` also contribute character n-grams."""
    counts: dict[int, float] = {}
    for lists, grams in ((named, True), (described, False)):
        for text_words in lists:
            for piece in pieces(text_words, grams):
                bucket = stable_hash(piece) % buckets
                counts[bucket] = counts.get(bucket, 0.0) + (0.3 if piece[0] == "#" else 1.0)
    ids = np.fromiter(counts.keys(), np.int64, len(counts))
    return ids, np.log1p(np.fromiter(counts.values(), np.float32, len(counts)))


class TextVectors:
    """Table [buckets, Dt] with the inverse document frequency folded in; `vector` is normalised to length 1."""

    def __init__(self, table: NDArray[np.float16]) -> None:
        self.table = table

    @property
    def width(self) -> int:
        """Dt."""
        return int(self.table.shape[1])

    @classmethod
    def fit(
        cls,
        bags: Sequence[Bag],
        buckets: int,
        width: int,
        seed: int,
        say: Callable[[str], None] = lambda _: None,
    ) -> TextVectors:
        """Learn the table from the bags of all entities."""
        say(f"text vectors of {len(bags):,} entities")
        rows = np.repeat(np.arange(len(bags)), [len(ids) for ids, _ in bags])
        columns = np.concatenate([ids for ids, _ in bags])
        values = np.concatenate([weights for _, weights in bags])
        idf = np.log1p(len(bags) / (1.0 + np.bincount(columns, minlength=buckets))).astype(np.float32)
        values = values * idf[columns]
        norms = np.sqrt(np.bincount(rows, values**2, minlength=len(bags)))
        values = (values / np.maximum(norms[rows], 1e-6)).astype(np.float32)
        indices = torch.from_numpy(np.stack([rows, columns]))
        matrix = torch.sparse_coo_tensor(
            indices, torch.from_numpy(values), (len(bags), buckets), check_invariants=False
        ).coalesce()
        singular, vectors = truncated_svd(matrix, width, seed, iterations=2)
        vectors = vectors * (singular > 1e-3 * singular.max())  # drop directions without variance
        damped = vectors / singular.clamp(min=1e-6).sqrt()  # damp the first directions, which are too general
        table = np.zeros((buckets, width), np.float16)
        table[:, : damped.shape[1]] = (damped.numpy() * idf[:, None] * 8.0).astype(np.float16)
        return cls(table)

    def vector(self, bag: Bag) -> NDArray[np.float32]:
        """Text vector [Dt] of length 1; zeros for a text without known pieces."""
        ids, weights = bag
        if not len(ids):
            return np.zeros(self.width, np.float32)
        total = weights @ self.table[ids].astype(np.float32)
        return np.asarray(total / max(float(np.linalg.norm(total)), 1e-6), np.float32)
