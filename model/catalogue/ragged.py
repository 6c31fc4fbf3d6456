"""Rows of different lengths in one flat array: offsets [N+1] and values [total]. Index arithmetic only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Ragged:
    """`values[offsets[i]:offsets[i + 1]]` is row i."""

    offsets: Ints
    values: NDArray[np.uint32]

    @classmethod
    def of(cls, rows: Sequence[Iterable[int]]) -> Ragged:
        """Pack rows of integers below 2³²."""
        lists = [np.fromiter(row, dtype=np.uint32) for row in rows]
        lengths = np.fromiter((len(row) for row in lists), dtype=np.int64, count=len(lists))
        flat = np.concatenate(lists) if lists else np.zeros(0, np.uint32)
        return cls(np.concatenate([[0], np.cumsum(lengths)]), flat)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def row(self, index: int) -> NDArray[np.uint32]:
        """One row, as a view."""
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    def take(self, rows: Ints) -> Ragged:
        """These rows, in the given order.

        >>> Ragged.of([[1], [2, 3], []]).take(np.array([1, 0])).values.tolist()
        [2, 3, 1]
        """
        starts, ends = self.offsets[rows], self.offsets[rows + 1]
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(ends - starts, out=offsets[1:])
        data = self.values.data  # copying row by row is faster than indexing every value
        joined = b"".join([data[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)])
        return Ragged(offsets, np.frombuffer(joined, self.values.dtype))

    def none(self, count: int) -> Ragged:
        """`count` empty rows."""
        return Ragged(np.zeros(count + 1, np.int64), self.values[:0])

    def part(self, start: int, end: int) -> Ragged:
        """Rows start…end-1, without copying values."""
        offsets = self.offsets[start : end + 1]
        return Ragged(offsets - offsets[0], self.values[offsets[0] : offsets[-1]])

    def owners(self) -> Ints:
        """The row that each value belongs to. [total]"""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))


def concatenate(parts: Sequence[Ragged]) -> Ragged:
    """The rows of several ragged arrays, in order."""
    lengths = np.concatenate([np.diff(part.offsets) for part in parts])
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Ragged(offsets, np.concatenate([part.values for part in parts]))
