"""Entities near a source by text or by co-engagement, for more-like-this: negatives that random ones do not replace.

Either signal alone calls much alike that is not. What is known to be like the source is no negative. Draws nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from model.context.context import MORE_LIKE_THIS
from model.events.timelines import LabelledRanking
from model.retrieval.exact import best_rows
from model.text.bounded_cache import BoundedCache

Ints = NDArray[np.int64]
Floats = NDArray[np.floating]
NEAREST = 40  # by each of the two signals
SOURCES_KEPT = 2**16


class Neighbours:
    """Near rows of each source. text [N, Dt] and engagement [N, Dz] are compared by their dot products."""

    def __init__(
        self, text: Floats, engagement: Floats, rankings: Iterable[LabelledRanking], rows: Mapping[str, int]
    ) -> None:
        self._spaces = (np.asarray(text, np.float32), np.asarray(engagement, np.float32))
        self._positives = _positives_by_source(rankings, rows)
        self._cache: BoundedCache[int, Ints] = BoundedCache(SOURCES_KEPT)

    def of(self, source: int) -> Ints:
        """Rows near this row, rising, without itself and its known positives."""
        return self._cache.get(source, self._find)

    def _find(self, source: int) -> Ints:
        near = [best_rows(space @ space[source], NEAREST) for space in self._spaces if space[source].any()]
        known = [source, *self._positives.get(source, ())]
        return np.setdiff1d(np.concatenate([np.zeros(0, np.int64), *near]), known)


def _positives_by_source(rankings: Iterable[LabelledRanking], rows: Mapping[str, int]) -> dict[int, set[int]]:
    positives: dict[int, set[int]] = defaultdict(set)
    for ranking in rankings:
        source = rows.get(ranking.context.source_entity_id or "")
        if ranking.context.task == MORE_LIKE_THIS and source is not None:
            pairs = zip(ranking.entity_ids, ranking.labels, strict=True)
            positives[source].update(rows[entity] for entity, label in pairs if label > 0)
    return positives
