"""A compact record of the rows a model was trained on: a fingerprint of the dataset and a sample of row hashes.

The sample is the lowest hashes (a bottom-k sketch), so a row of any dataset can be looked up: if its hash is below
the highest of the sample, it is in the sample or was not trained on. Contains no ids and identifies no user.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from model.datasets.dataset import Dataset

SAME_ROW = ("ranking_id", "task", "user_id", "entity_id", "timestamp")  # rows equal in these are the same row
SAMPLE = 2048  # hashes of 8 bytes; enough to detect a share of 1 % of the rows
AT_ONCE = 100_000  # rows

Hashes = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class TrainedRows:
    """The lowest hashes of the rows under training, ascending; `whole` = the sample is all of them."""

    sample: Hashes
    whole: bool

    @classmethod
    def of(cls, events: pl.DataFrame) -> TrainedRows:
        """The record for the rows of a table."""
        hashes = np.unique(_hashes(events))
        return cls(hashes[:SAMPLE], len(hashes) <= SAMPLE)

    def share(self, events: pl.DataFrame) -> float:
        """Estimated share of the rows of a table that were trained on; 0 if no row can be looked up."""
        hashes = _hashes(events)
        if not self.whole:
            hashes = hashes[hashes <= self.sample[-1]]
        return float(np.isin(hashes, self.sample).mean()) if len(hashes) else 0.0

    def to_json(self) -> dict[str, Any]:
        """For the manifest."""
        return {"sample": base64.b64encode(self.sample.astype("<u8").tobytes()).decode(), "whole": self.whole}

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> TrainedRows:
        """The inverse of `to_json`. Raises KeyError or ValueError for anything else."""
        sample = np.frombuffer(base64.b64decode(table["sample"], validate=True), "<u8").astype(np.uint64)
        return cls(sample, bool(table["whole"]) or not len(sample))


def fingerprint(dataset: Dataset) -> str:
    """A hash of everything that training reads from a dataset: attributes, column types, and rows in their order."""
    digest = hashlib.sha256(json.dumps(dataset.columns, sort_keys=True).encode())
    for entity in dataset.entities:
        digest.update(json.dumps(entity, sort_keys=True).encode())
    digest.update(json.dumps(dataset.events.columns).encode())
    for row in _texts(dataset.events, dataset.events.columns):
        digest.update(row.encode() + b"\n")
    return digest.hexdigest()[:16]


def _hashes(events: pl.DataFrame) -> Hashes:
    each = (hashlib.blake2b(row.encode(), digest_size=8).digest() for row in _texts(events, SAME_ROW))
    return np.frombuffer(b"".join(each), "<u8").astype(np.uint64)


def _texts(events: pl.DataFrame, columns: Sequence[str]) -> Iterator[str]:
    """Each row as one text; a null differs from an empty value."""
    values = [pl.col(name).cast(pl.String).fill_null("\0") for name in columns]
    for start in range(0, len(events), AT_ONCE):
        yield from events[start : start + AT_ONCE].select(pl.concat_str(values, separator="\x1f")).to_series()
