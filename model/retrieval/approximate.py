"""Nearest entities of a large catalogue by FAISS: its inverted lists give more rows than wanted, exact dot products
choose among them. Needs the extra `large`; whether it is good enough is measured in `tuning.py`.

IVF with 8 bits a number: lists map from the file, so processes share them; nothing is decoded but what is looked at.
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

WIDER = 2  # rows that the lists give for each that is wanted
_POINTS = 64  # of each list, that k-means sees
_ROUNDS = 8  # of k-means
_CHUNK = 50_000  # entities added at once
Report = Callable[[int, int, str], None]


def faiss() -> Any | None:
    """The library, or None where it is not installed."""
    try:
        return importlib.import_module("faiss")
    except ImportError:
        return None


class ApproximateIndex:
    """The same searches as `DenseIndex`. `vectors` gives the rows that it asks for, [C, D + Dz], exactly."""

    def __init__(self, lists: Any, vectors: Callable[[Ints], Floats], library: Any) -> None:
        self._lists = lists
        self._vectors = vectors
        self._library = library
        self.probes = int(lists.nprobe)

    @classmethod
    def read(cls, path: Path, vectors: Callable[[Ints], Floats], library: Any) -> ApproximateIndex:
        """Map an index from its file. Raises RuntimeError on a file that is none."""
        lists = library.read_index(str(path), library.IO_FLAG_MMAP)
        held = library.downcast_InvertedLists(lists.invlists)
        if isinstance(held, library.OnDiskInvertedLists):
            held.prefetch_nthread = 0  # 32 threads a search, for a file that is in memory
        return cls(lists, vectors, library)

    def write(self, path: Path) -> None:
        """Keep it as a file, with the number of lists that a search looks into."""
        self._lists.nprobe = self.probes
        self._library.write_index(self._lists, str(path))

    def __len__(self) -> int:
        return int(self._lists.ntotal)

    @property
    def width(self) -> int:
        """D + Dz."""
        return int(self._lists.d)

    @property
    def list_count(self) -> int:
        """How many lists there are."""
        return int(self._lists.nlist)

    def search(self, query: Floats, k: int, exclude: Collection[int] = ()) -> Ints:
        """Rows of about the k highest dot products, best first, ties in row order. query [D + Dz]"""
        barred = np.fromiter(exclude, np.int64, len(exclude))
        wanted = min(k, len(self) - len(barred))
        probes, rows = self.probes, np.zeros(0, np.int64)
        while wanted > 0:
            rows = self._near(query, WIDER * k + len(barred), probes, barred)
            if len(rows) >= wanted or probes >= self.list_count:
                break
            probes *= 4  # the lists nearby hold too few
        return rows[best_rows(self._vectors(rows) @ query, k)] if len(rows) else rows

    def _near(self, query: Floats, count: int, probes: int, barred: Ints) -> Ints:
        """Rows that the lists give, ascending, without those that are barred."""
        look = self._library.SearchParametersIVF(nprobe=min(probes, self.list_count))
        _, found = self._lists.search(query[None], min(count, len(self)), params=look)
        rows: Ints = np.sort(found[0][found[0] >= 0])
        return rows[~np.isin(rows, barred)] if len(barred) else rows


def build(
    matrix: Floats,
    vectors: Callable[[Ints], Floats],
    library: Any,
    seed: int,
    report: Report = lambda *_: None,
) -> ApproximateIndex:
    """Lists of all entities [N, D + Dz]; looks into one list until it is told otherwise."""
    lists = library.index_factory(matrix.shape[1], f"IVF{_lists_of(len(matrix))},SQ8", library.METRIC_INNER_PRODUCT)
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


def _lists_of(entities: int) -> int:
    """Lists of a catalogue: twice the root of its size, as many as there are entities at most."""
    return max(1, min(entities, round(2 * math.sqrt(entities))))
