"""Chooses the number of lists that an approximate index probes, and measures it against exact search."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from model.retrieval.approximate import ApproximateIndex
from model.retrieval.exact import DenseIndex, Floats, Ints

DEPTH = 100  # rows per search, for recall
RECALL = 0.98  # least recall of a good index
CHOSEN_RECALL = 0.99  # target when choosing the number of lists, so that other queries reach `RECALL`
SPEED = 5.0  # least speedup over exact search
Say = Callable[[str], None]


class Index(Protocol):
    """An index that searches by embedding."""

    def search(self, query: Floats, k: int) -> Ints:
        """Rows of the k best."""
        ...


@dataclass(frozen=True, slots=True)
class IndexMeasurement:
    """Approximate search compared with exact search."""

    recall: float  # of the `DEPTH` best rows, mean over queries
    exact_ms: float  # median
    approximate_ms: float
    probes: int
    queries: int

    @property
    def times(self) -> float:
        """The speedup over exact search."""
        return self.exact_ms / self.approximate_ms

    @property
    def good(self) -> bool:
        """Whether recall and speedup suffice to replace exact search."""
        return self.recall >= RECALL and self.times >= SPEED


def tune(index: ApproximateIndex, exact: DenseIndex, queries: Floats, say: Say = lambda _: None) -> IndexMeasurement:
    """Double `index.probes` until `CHOSEN_RECALL` or a quarter of all lists is reached. Returns the last result."""
    say("exact answers")
    expected, exact_ms = timed(exact, queries)
    index.probes = 1
    while True:
        rows, took_ms = timed(index, queries)
        measured = IndexMeasurement(recall(rows, expected), exact_ms, took_ms, index.probes, len(queries))
        say(f"{index.probes} lists: recall {measured.recall:.3f}, {measured.times:.0f} times as fast")
        if measured.recall >= CHOSEN_RECALL or index.probes * 4 >= index.list_count:
            return measured
        index.probes *= 2


def timed(index: Index, queries: Floats) -> tuple[list[Ints], float]:
    """The rows of each query [Q, D + Dz], and the median time in ms."""
    rows, times = [], []
    for query in queries:
        started = time.perf_counter()
        rows.append(index.search(query, DEPTH))
        times.append(time.perf_counter() - started)
    return rows, float(np.median(times)) * 1e3


def rows_of(index: Index, queries: Iterable[Floats]) -> list[Ints]:
    """The `DEPTH` best rows of each query."""
    return [index.search(query, DEPTH) for query in queries]


def recall(found: list[Ints], wanted: list[Ints]) -> float:
    """Share of the wanted rows that were found, mean over queries.

    >>> recall([np.array([1, 2])], [np.array([2, 3])])
    0.5
    """
    return float(np.mean([np.isin(expected, rows).mean() for rows, expected in zip(found, wanted, strict=True)]))
