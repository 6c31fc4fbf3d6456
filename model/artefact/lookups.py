"""Lookups of entities by id, by words and by embedding. Built when a model is written, mapped when it is read.

All data that grows with the catalogue is in files that processes share: `catalogue.safetensors` (directory, postings)
and one of `dense.safetensors` (exact search) or `dense.faiss` (approximate).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from model.catalogue.encoding import EntityEncoder
from model.catalogue.entities import Directory
from model.catalogue.fields import Entity
from model.catalogue.record_table import RecordTable
from model.network.scorer import retrieval_matrix
from model.retrieval.approximate import ApproximateIndex, faiss
from model.retrieval.exact import DenseIndex, Floats
from model.retrieval.lexical import Postings
from model.text.vocabulary import Vocabulary

CATALOGUE, EXACT, APPROXIMATE = "catalogue.safetensors", "dense.safetensors", "dense.faiss"

_log = logging.getLogger("unirank.model")


@dataclass(frozen=True, slots=True)
class Lookups:
    """Finds the rows of the catalogue by id, by words and by embedding."""

    directory: Directory
    postings: Postings
    dense: DenseIndex | ApproximateIndex


def build_lookups(entities: Sequence[Entity], records: RecordTable, encoder: EntityEncoder) -> Lookups:
    """Build from entities and records; search by embedding is exact. Raises ValueError on duplicate ids."""
    words = len(encoder.vocabulary.weights)
    postings = Postings.of(records.tokens, words, records.popularity, encoder.lists)
    return Lookups(Directory.of(entities), postings, DenseIndex(whole_matrix(records)))


def write(folder: Path, lookups: Lookups) -> None:
    """Write directory, postings and embedding index."""
    save_file({**lookups.directory.arrays(), **lookups.postings.arrays()}, folder / CATALOGUE)
    write_dense(folder, lookups.dense)


def write_dense(folder: Path, dense: DenseIndex | ApproximateIndex) -> None:
    """Write only the embedding index."""
    if isinstance(dense, DenseIndex):
        save_file({"vectors": dense.matrix}, folder / EXACT)
    else:
        dense.write(folder / APPROXIMATE)


def read(folder: Path, records: RecordTable, vocabulary: Vocabulary, files: Iterable[str]) -> Lookups:
    """Map the files of `write`. Raises KeyError, ValueError or RuntimeError where they do not fit the records."""
    arrays = map_lookups(folder / CATALOGUE)
    directory, postings = Directory.from_arrays(arrays), Postings.from_arrays(arrays)
    if len(postings.starts) != len(vocabulary.weights) + 1:
        raise ValueError(f"postings of {len(postings.starts) - 1} words, expected {len(vocabulary.weights)}")
    dense = (
        _approximate(folder, records) if APPROXIMATE in files else DenseIndex(map_lookups(folder / EXACT)["vectors"])
    )
    if len(dense) != len(records) or dense.width != records.retrieval_width:
        raise ValueError(f"an index of {len(dense)} × {dense.width}, not {len(records)} × {records.retrieval_width}")
    return Lookups(directory, postings, dense)


def _approximate(folder: Path, records: RecordTable) -> DenseIndex | ApproximateIndex:
    library = faiss()
    if library is None:
        _log.warning("%s has a FAISS index and faiss-cpu is not installed: searching exactly, which is slow", folder)
        return DenseIndex(whole_matrix(records))
    return ApproximateIndex.read(folder / APPROXIMATE, partial(retrieval_matrix, records), library)


def whole_matrix(records: RecordTable) -> Floats:
    """All records in the embedding space of retrieval. [N, D + Dz]"""
    return retrieval_matrix(records, np.arange(len(records)))


def map_lookups(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of a file as views of it: torch maps the file, numpy's reader would copy it."""
    with safe_open(path, framework="pt", device="cpu") as file:
        names = file.keys()
        return {name: file.get_tensor(name).numpy() for name in names}
