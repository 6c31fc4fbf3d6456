"""Approximate nearest-neighbour search for a large catalogue with FAISS. Needs the extra `large`.

Inverted lists give more rows than requested, and exact dot products rerank them. `tuning.py` measures the quality.
The index is IVF with 8 bits per number. Its lists are mapped from the file, so processes share them; a search decodes
only the lists that it probes.
"""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np

from model.catalogue.encoding import chunks
from model.retrieval.exact import Floats, Ints, best_rows

WIDER = 2  # rows from the lists per requested row
_POINTS = 64  # training points of k-means per list
_ROUNDS = 8  # iterations of k-means
_CHUNK = 50_000  # entities added per call
Report = Callable[[int, int, str], None]


def faiss() -> Any | None:
    """The library, or None where it is not installed."""
    try:
        return importlib.import_module("faiss")
    except ImportError:
        return None


class ApproximateIndex:
    """The interface of `DenseIndex`. `vectors` gives the exact vectors [C, D + Dz + Dt] of rows, for reranking."""

    def __init__(self, lists: Any, vectors: Callable[[Ints], Floats], library: Any) -> None:
        self._lists = lists
        self._vectors = vectors
        self._library = library
        self.probes = int(lists.nprobe)

    @classmethod
    def read(cls, path: Path, vectors: Callable[[Ints], Floats], library: Any) -> ApproximateIndex:
        """Map an index from its file. Raises RuntimeError on a file that is not an index."""
        lists = library.read_index(str(path), library.IO_FLAG_MMAP)
        inverted = library.downcast_InvertedLists(lists.invlists)
        if isinstance(inverted, library.OnDiskInvertedLists):
            inverted.prefetch_nthread = 0  # the default is 32 threads per search, useless for a file in memory
        return cls(lists, vectors, library)

    def write(self, path: Path) -> None:
        """Save the index to a file, with the number of lists that a search probes."""
        self._lists.nprobe = self.probes
        self._library.write_index(self._lists, str(path))

    def __len__(self) -> int:
        return int(self._lists.ntotal)

    @property
    def width(self) -> int:
        """D + Dz + Dt."""
        return int(self._lists.d)

    @property
    def list_count(self) -> int:
        """The number of lists."""
        return int(self._lists.nlist)

    def search(self, query: Floats, k: int, exclude: Collection[int] = ()) -> Ints:
        """Rows of about the k highest dot products, best first, ties in row order. query [D + Dz + Dt]"""
        excluded = np.fromiter(exclude, np.int64, len(exclude))
        wanted = min(k, len(self) - len(excluded))
        probes, rows = self.probes, np.zeros(0, np.int64)
        while wanted > 0:
            rows = self._probe(query, WIDER * k + len(excluded), probes, excluded)
            if len(rows) >= wanted or probes >= self.list_count:
                break
            probes *= 4  # the probed lists hold too few rows
        return rows[best_rows(self._vectors(rows) @ query, k)] if len(rows) else rows

    def _probe(self, query: Floats, count: int, probes: int, excluded: Ints) -> Ints:
        """About the `count` nearest rows in the probed lists, ascending, without `excluded`."""
        parameters = self._library.SearchParametersIVF(nprobe=min(probes, self.list_count))
        _, nearest = self._lists.search(query[None], min(count, len(self)), params=parameters)
        rows: Ints = np.sort(nearest[0][nearest[0] >= 0])
        return rows[~np.isin(rows, excluded)] if len(excluded) else rows


def build(
    matrix: Floats,
    vectors: Callable[[Ints], Floats],
    library: Any,
    seed: int,
    report: Report = lambda *_: None,
) -> ApproximateIndex:
    """Build an index of all entities [N, D + Dz + Dt]. It probes one list until `probes` is set."""
    lists = library.index_factory(matrix.shape[1], f"IVF{_list_count(len(matrix))},SQ8", library.METRIC_INNER_PRODUCT)
    lists.cp.niter, lists.cp.max_points_per_centroid, lists.cp.seed = _ROUNDS, _POINTS, seed
    sample = np.random.default_rng(seed).permutation(len(matrix))[: _POINTS * lists.nlist]
    report(0, len(matrix), f"k-means of {lists.nlist:,} lists")
    library.omp_set_num_threads(os.cpu_count() or 1)
    lists.train(matrix[np.sort(sample)])
    for start, end in chunks(len(matrix), _CHUNK):
        lists.add(matrix[start:end])
        report(end, len(matrix), "entities into lists")
    library.omp_set_num_threads(1)
    return ApproximateIndex(lists, vectors, library)


def _list_count(entities: int) -> int:
    """The number of lists for a catalogue: twice the square root of its size, at most one per entity."""
    return max(1, min(entities, round(2 * math.sqrt(entities))))
