"""Which rows a model was trained on, kept small: a fingerprint of the dataset and a sample of hashes of its rows.

The sample is the lowest hashes (a bottom-k sketch), so a row of any dataset can be asked for: where its hash is below
the highest one of the sample, it is in it or was not trained on. Holds no ids, and names nobody.
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

SAME_ROW = ("ranking_id", "task", "user_id", "entity_id", "timestamp")  # equal in these = the same row
SAMPLE = 2048  # hashes of 8 bytes; a share of 1 % of the rows is found
AT_ONCE = 100_000  # rows

Hashes = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class TrainedRows:
    """The lowest hashes of the rows under training, ascending; `whole` = those are all."""

    sample: Hashes
    whole: bool

    @classmethod
    def of(cls, events: pl.DataFrame) -> TrainedRows:
        """Of the rows of a table."""
        hashes = np.unique(_hashes(events))
        return cls(hashes[:SAMPLE], len(hashes) <= SAMPLE)

    def share(self, events: pl.DataFrame) -> float:
        """About which share of the rows of a table were trained on; 0 where none can be told."""
        asked = _hashes(events)
        if not self.whole:
            asked = asked[asked <= self.sample[-1]]
        return float(np.isin(asked, self.sample).mean()) if len(asked) else 0.0

    def to_json(self) -> dict[str, Any]:
        """For the manifest."""
        return {"sample": base64.b64encode(self.sample.astype("<u8").tobytes()).decode(), "whole": self.whole}

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> TrainedRows:
        """Back from a manifest. Raises KeyError or ValueError where it is something else."""
        sample = np.frombuffer(base64.b64decode(table["sample"], validate=True), "<u8").astype(np.uint64)
        return cls(sample, bool(table["whole"]) or not len(sample))


def fingerprint(dataset: Dataset) -> str:
    """A hash of all that training reads of a dataset: attributes, column types, and rows in their order."""
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
    """Each row as one text; a null is not an empty value."""
    values = [pl.col(name).cast(pl.String).fill_null("\0") for name in columns]
    for start in range(0, len(events), AT_ONCE):
        yield from events[start : start + AT_ONCE].select(pl.concat_str(values, separator="\x1f")).to_series()
