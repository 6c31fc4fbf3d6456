"""The entity record: all that scoring needs of one entity, packed into bytes that are the same in every cache tier.

Layout, little-endian: int32 number of tokens · float16 vector [D] · float16 text [Dt] · float16 engagement [Dz] ·
float32 inverse, popularity · float32 static [S] · int32 row, next rows [K] · float16 next weights [K] · uint32 tokens.
Storage is handled elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from model.catalogue.encoding import EntityArrays
from model.catalogue.ragged import Ints, Ragged, concatenate
from model.events.engagement import Engagement

AnyRecords = TypeVar("AnyRecords", covariant=True)
Floats = NDArray[np.float32]
Halves = NDArray[np.float16]
Rows = NDArray[np.int32]


_FLOATS = ("vector", "text", "engagement", "inverse", "popularity", "static", "next_weights")
_ROWS = ("row", "next_rows")


class RecordError(ValueError):
    """The bytes are not a record of this layout."""


@dataclass(frozen=True, slots=True)
class Records:
    """C unpacked records. `vector` comes from the entity tower, the other columns from encoding and engagement."""

    vector: Floats  # [C, D]
    text: Floats  # [C, Dt]
    engagement: Floats  # [C, Dz]
    inverse: Floats  # [C]
    popularity: Floats  # [C]
    static: Floats  # [C, S]
    row: Rows  # [C] its row in the catalogue of training, -1 = it was not there
    next_rows: Rows  # [C, K] the rows of its successors, see `model/events/transitions.py`
    next_weights: Floats  # [C, K]
    tokens: Ragged

    def __len__(self) -> int:
        return len(self.inverse)

    def take(self, rows: Ints, bare: bool = False) -> Records:
        """The records in these rows; `bare` = without tokens, which a history does not need."""
        parts = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "tokens"}
        tokens = self.tokens.none(len(rows)) if bare else self.tokens.take(rows)
        return Records(**{name: array[rows] for name, array in parts.items()}, tokens=tokens)

    def part(self, start: int, end: int) -> Records:
        """Records start…end-1, without copying them."""
        parts = {f.name: getattr(self, f.name)[start:end] for f in fields(self) if f.name != "tokens"}
        return Records(**parts, tokens=self.tokens.part(start, end))

    def without_tokens(self) -> Records:
        """The same records without tokens, which a history does not need; `take` is then cheaper."""
        return replace(self, tokens=self.tokens.none(len(self)))

    def joined(self, other: Records) -> Records:
        """These records, followed by the others."""
        names = [f.name for f in fields(self) if f.name != "tokens"]
        arrays = {name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in names}
        return Records(**arrays, tokens=concatenate([self.tokens, other.tokens]))


@dataclass(frozen=True, slots=True)
class NamedRecords(Generic[AnyRecords]):
    """Records with their distinct ids, in the same order. Ids without a record are left out."""

    ids: Sequence[str]
    records: AnyRecords

    def find(self, entity_ids: Sequence[str]) -> Ints:
        """Places of these ids among the records, -1 = no record. [C]"""
        places = {entity_id: place for place, entity_id in enumerate(self.ids)}
        return np.array([places.get(entity_id, -1) for entity_id in entity_ids], np.int64)


def assemble(arrays: EntityArrays, engagement: Engagement, vector: Floats, rows: Ints) -> Records:
    """Records of N entities in these rows of the catalogue, rounded to the precision of packed records."""
    return Records(
        _round_to_half(vector),
        _round_to_half(arrays.text),
        _round_to_half(engagement.vectors),
        engagement.inverse,
        engagement.popularity,
        arrays.static,
        rows.astype(np.int32),
        engagement.transitions.rows,
        engagement.transitions.weights.astype(np.float32),
        arrays.tokens,
    )


def _round_to_half(values: Floats | Halves) -> Floats:
    return values.astype(np.float16).astype(np.float32)


@dataclass(frozen=True, slots=True)
class RecordLayout:
    """The widths of the records of one artefact; packs and unpacks them."""

    width: int
    text_width: int
    engagement_width: int
    static_width: int
    transitions: int

    @property
    def _fixed_dtype(self) -> np.dtype[np.void]:
        return np.dtype(
            [
                ("count", "<i4"),
                ("vector", "<f2", (self.width,)),
                ("text", "<f2", (self.text_width,)),
                ("engagement", "<f2", (self.engagement_width,)),
                ("inverse", "<f4"),
                ("popularity", "<f4"),
                ("static", "<f4", (self.static_width,)),
                ("row", "<i4"),
                ("next_rows", "<i4", (self.transitions,)),
                ("next_weights", "<f2", (self.transitions,)),
            ]
        )

    def pack(self, records: Records) -> list[bytes]:
        """One bytes object per record."""
        fixed = np.zeros(len(records), self._fixed_dtype)
        fixed["count"] = np.diff(records.tokens.offsets)
        for name in (*_FLOATS, *_ROWS):
            fixed[name] = getattr(records, name)
        heads, size = fixed.tobytes(), fixed.dtype.itemsize
        return [
            heads[i * size : (i + 1) * size] + records.tokens.row(i).astype("<u4").tobytes()
            for i in range(len(records))
        ]

    def unpack(self, packed: Sequence[bytes]) -> Records:
        """Records from C byte strings. Raises `RecordError` where a length does not fit the layout."""
        dtype = self._fixed_dtype
        size = dtype.itemsize
        fixed = np.frombuffer(b"".join([blob[:size] for blob in packed]), np.uint8)
        lengths = np.fromiter(map(len, packed), np.int64, len(packed))
        if len(fixed) != size * len(packed):
            raise RecordError(f"a record is shorter than its {size} fixed bytes")
        heads = fixed.view(dtype)
        if not np.array_equal(heads["count"].astype(np.int64) * 4, lengths - size):
            raise RecordError("a record does not hold as many tokens as it says")
        tokens = np.frombuffer(b"".join([blob[size:] for blob in packed]), "<u4")
        offsets = np.zeros(len(packed) + 1, np.int64)
        np.cumsum(heads["count"], out=offsets[1:])
        columns: dict[str, Any] = {name: np.ascontiguousarray(heads[name], dtype=np.float32) for name in _FLOATS}
        columns |= {name: np.ascontiguousarray(heads[name]) for name in _ROWS}
        return Records(**columns, tokens=Ragged(offsets, tokens))
