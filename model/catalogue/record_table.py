"""The records of a whole catalogue as columns, at the precision of packed records. Reads no files itself.

The arrays may be views of a mapped file. Then processes share one copy, and only rows in use occupy memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from model.catalogue.ragged import Ints, Ragged, concatenate
from model.catalogue.records import Floats, RecordError, RecordLayout, Records, Rows
from model.events.engagement import Engagement
from model.events.transitions import Transitions

Halves = NDArray[np.float16]
_HALVES = ("vector", "text", "engagement", "next_weights")
_EXACT = ("inverse", "popularity", "static", "row", "next_rows")
COLUMNS = (*_HALVES, *_EXACT, "token_offsets", "tokens")


@dataclass(frozen=True, slots=True)
class RecordTable:
    """N records. The shapes are those of `Records`."""

    vector: Halves
    text: Halves
    engagement: Halves
    inverse: Floats
    popularity: Floats
    static: Floats
    row: Rows
    next_rows: Rows
    next_weights: Halves
    tokens: Ragged

    @classmethod
    def of(cls, records: Records) -> RecordTable:
        """From records that are already rounded to this precision, as those of `assemble` are."""
        halves = {name: getattr(records, name).astype(np.float16) for name in _HALVES}
        return cls(**halves, **{name: getattr(records, name) for name in _EXACT}, tokens=records.tokens)

    @classmethod
    def joined(cls, parts: Sequence[RecordTable]) -> RecordTable:
        """The records of several tables, in order."""
        columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in (*_HALVES, *_EXACT)}
        return cls(**columns, tokens=concatenate([part.tokens for part in parts]))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> RecordTable:
        """Build from `arrays()`. Raises `RecordError` where lengths disagree, KeyError where an array is missing."""
        columns = {name: arrays[name] for name in (*_HALVES, *_EXACT)}
        offsets, tokens = arrays["token_offsets"], arrays["tokens"]
        lengths = {len(column) for column in columns.values()} | {len(offsets) - 1}
        if len(lengths) != 1 or offsets[0] != 0 or offsets[-1] != len(tokens) or (np.diff(offsets) < 0).any():
            raise RecordError(f"columns of {sorted(lengths)} records, {len(tokens)} tokens whose offsets do not fit")
        return cls(**columns, tokens=Ragged(offsets, tokens))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All columns by name, for a file."""
        columns = {name: getattr(self, name) for name in (*_HALVES, *_EXACT)}
        return {**columns, "token_offsets": self.tokens.offsets, "tokens": self.tokens.values}

    def check(self, layout: RecordLayout) -> None:
        """Raise `RecordError` where the widths differ from the layout."""
        widths = (self.vector, self.text, self.engagement, self.static, self.next_rows)
        own = RecordLayout(*(column.shape[1] for column in widths))
        if own != layout:
            raise RecordError(f"expected {layout}, got {own}")

    def for_retrieval(self, rows: Ints) -> tuple[Floats, Floats, Floats, Floats]:
        """Vector, engagement, inverse and text of these records: the columns that retrieval needs."""
        columns = (self.vector, self.engagement, self.text)
        vector, engagement, text = (_single_precision(column.take(rows, axis=0)) for column in columns)
        return vector, engagement, self.inverse.take(rows), text

    def outcomes(self) -> Engagement:
        """What users did with the entities, without a copy."""
        transitions = Transitions(self.next_rows, self.next_weights)
        return Engagement(self.engagement, self.inverse, self.popularity, transitions)

    @property
    def retrieval_width(self) -> int:
        """D + Dz + Dt, the width of the embedding space of retrieval."""
        return int(self.vector.shape[1] + self.engagement.shape[1] + self.text.shape[1])

    def __len__(self) -> int:
        return len(self.inverse)

    def take(self, rows: Ints, bare: bool = False) -> Records:
        """These records in single precision; `bare` = without tokens, which a history does not need."""
        columns: dict[str, Any] = {name: _single_precision(getattr(self, name).take(rows, axis=0)) for name in _HALVES}
        columns |= {name: getattr(self, name).take(rows, axis=0) for name in _EXACT}
        tokens = self.tokens.none(len(rows)) if bare else self.tokens.take(rows)
        return Records(**columns, tokens=tokens)

    def part(self, start: int, end: int) -> Records:
        """Records start…end-1."""
        columns: dict[str, Any] = {name: _single_precision(getattr(self, name)[start:end]) for name in _HALVES}
        columns |= {name: getattr(self, name)[start:end] for name in _EXACT}
        return Records(**columns, tokens=self.tokens.part(start, end))


def _single_precision(values: Halves) -> Floats:
    """float16 → float32; torch is ten times as fast as numpy here."""
    wide: Floats = torch.from_numpy(values).float().numpy()
    return wide


@dataclass(frozen=True, slots=True)
class TableRows:
    """Records of a table that are not read yet. Reading them just before use keeps them in the processor's cache."""

    table: RecordTable
    rows: Ints

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, start: int, end: int) -> TableRows:
        """Records start…end-1, still unread."""
        return replace(self, rows=self.rows[start:end])

    def take(self, places: Ints, bare: bool = False) -> Records:
        """Read the records at these places; `bare` = without tokens."""
        return self.table.take(self.rows[places], bare)

    def read(self) -> Records:
        """Read all records."""
        return self.table.take(self.rows)
