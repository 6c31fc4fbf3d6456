"""Entities near a source by text or by co-engagement, for more-like-this: candidates that random ones do not replace.

Either signal alone calls much alike that is not. Few of them are known positives, and how near the others are by text
says how good they are: with plain zeros, the fifth best of a source would teach that texts mislead. Draws nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.context.context import MORE_LIKE_THIS
from model.events.timelines import LabelledRanking
from model.retrieval.exact import best_rows
from model.text.bounded_cache import BoundedCache

Ints = NDArray[np.int64]
Floats = NDArray[np.floating]
NEAREST = 100  # by each of the two signals
NEARLY = 0.9  # target of a row that is as near by text as any, if it is no known positive
SOURCES_KEPT = 2**16


@dataclass(frozen=True, slots=True)
class Near:
    """Rows near a source, rising, without itself and its known positives; `targets`: how alike each is. [K] each"""

    rows: Ints
    targets: NDArray[np.float32]

    def targets_of(self, rows: Ints) -> NDArray[np.float32]:
        """The targets of distinct rows, 0 for those that are not near. [C]"""
        targets = np.zeros(len(rows), np.float32)
        _, asked, known = np.intersect1d(rows, self.rows, assume_unique=True, return_indices=True)
        targets[asked] = self.targets[known]
        return targets


class Neighbours:
    """What is near each source. text [N, Dt] and engagement [N, Dz] are compared by their dot products."""

    def __init__(
        self, text: Floats, engagement: Floats, rankings: Iterable[LabelledRanking], rows: Mapping[str, int]
    ) -> None:
        self._text, self._engagement = np.asarray(text, np.float32), np.asarray(engagement, np.float32)
        self._positives = _positives_by_source(rankings, rows)
        self._cache: BoundedCache[int, Near] = BoundedCache(SOURCES_KEPT)

    def of(self, source: int) -> Near:
        """What is near this row."""
        return self._cache.get(source, self._find)

    def _find(self, source: int) -> Near:
        cosines, alike = _nearest(self._text, source)
        _, liked = _nearest(self._engagement, source)
        rows = np.setdiff1d(np.concatenate([alike, liked]), [source, *self._positives.get(source, ())])
        return Near(rows, NEARLY * _standing(cosines[rows], cosines[alike]))


def _nearest(space: NDArray[np.float32], source: int) -> tuple[NDArray[np.float32], Ints]:
    """The dot product of each row with the source [N], and the other rows of the highest; none without a vector."""
    products = space @ space[source]
    return products, best_rows(products, NEAREST, {source}) if space[source].any() else np.zeros(0, np.int64)


def _standing(values: NDArray[np.float32], nearest: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values on a scale from the last of the nearest, 0, to the first, 1. [K]"""
    if not len(nearest):
        return np.zeros(len(values), np.float32)
    first, last = nearest.max(), nearest.min()
    return np.asarray(np.clip((values - last) / max(first - last, 1e-6), 0, 1), np.float32)


def _positives_by_source(rankings: Iterable[LabelledRanking], rows: Mapping[str, int]) -> dict[int, set[int]]:
    positives: dict[int, set[int]] = defaultdict(set)
    for ranking in rankings:
        source = rows.get(ranking.context.source_entity_id or "")
        if ranking.context.task == MORE_LIKE_THIS and source is not None:
            pairs = zip(ranking.entity_ids, ranking.labels, strict=True)
            positives[source].update(rows[entity] for entity, label in pairs if label > 0)
    return positives
