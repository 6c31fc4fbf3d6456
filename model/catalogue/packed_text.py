"""Many strings in one array of bytes: a sequence of strings that may be a view of a mapped file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from model.catalogue.ragged import Ints

Bytes = NDArray[np.uint8]


class Texts(Sequence[str]):
    """String i is `data[offsets[i]:offsets[i + 1]]` as UTF-8. offsets [N + 1]"""

    def __init__(self, offsets: Ints, data: Bytes) -> None:
        if offsets[-1:].tolist() != [len(data)]:
            raise ValueError(f"{len(data)} bytes of text, expected {offsets[-1:]}")
        self.offsets = offsets
        self.data = data

    @classmethod
    def of(cls, strings: Iterable[str]) -> Texts:
        """Pack strings.

        >>> list(Texts.of(["Amélie", "", "Heat"]))
        ['Amélie', '', 'Heat']
        """
        packed = [encoded(string) for string in strings]
        offsets = np.zeros(len(packed) + 1, np.int64)
        np.cumsum([len(data) for data in packed], out=offsets[1:])
        return cls(offsets, np.frombuffer(b"".join(packed), np.uint8))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], name: str) -> Texts:
        """Build from `arrays(name)`. Raises ValueError where lengths disagree, KeyError where an array is missing."""
        return cls(arrays[f"{name}_offsets"], arrays[f"{name}_bytes"])

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """Both arrays by name, for a file."""
        return {f"{name}_offsets": self.offsets, f"{name}_bytes": self.data}

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        row = range(len(self))[index]
        return _decode(self.data[self.offsets[row] : self.offsets[row + 1]].tobytes())

    def take(self, rows: Ints) -> list[str]:
        """The strings of these rows."""
        starts, ends = self.offsets[rows].tolist(), self.offsets[rows + 1].tolist()
        data = self.data.data
        return [_decode(data[start:end]) for start, end in zip(starts, ends, strict=True)]

    def joined(self, rows: Ints) -> tuple[Ints, bytes]:
        """Lengths in bytes of the strings of these rows, and their concatenated bytes."""
        starts = self.offsets[rows]
        lengths = self.offsets[rows + 1] - starts
        ends = np.cumsum(lengths)
        places = np.repeat(starts - ends + lengths, lengths) + np.arange(ends[-1] if len(ends) else 0)
        return lengths, self.data[places].tobytes()

    def __iter__(self) -> Iterator[str]:
        data = self.data.data
        return (_decode(data[start:end]) for start, end in pairwise(self.offsets.tolist()))


def encoded(string: str) -> bytes:
    """UTF-8 of any string, including lone surrogates: an id that contains one is unknown, not an encoding error."""
    return string.encode("utf-8", "surrogatepass")


def _decode(data: bytes | memoryview) -> str:
    return str(data, "utf-8", "surrogatepass")
