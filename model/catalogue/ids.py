"""Id → row for catalogues too large for a dictionary in every process: sorted hashes that may be views of a file.

The seed is chosen so that no two ids of the catalogue share a hash. For an unknown id, the bytes are compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import count, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.catalogue.encoding import chunks
from model.catalogue.packed_text import Texts, encoded
from model.catalogue.ragged import Ints

Hashes = NDArray[np.uint64]
_CHUNK = 50_000  # ids hashed per call
_WORD = 8  # bytes
_LONGEST = 256  # bytes; of longer ids, a digest is hashed


class IdTable(Mapping[str, int]):
    """A read-only mapping over N ids. `find` looks up many ids at once and is faster."""

    def __init__(self, ids: Texts, hashes: Hashes, rows: NDArray[np.int32], seed: int) -> None:
        if not len(ids) == len(hashes) == len(rows):
            raise ValueError(f"{len(ids)} ids, {len(hashes)} hashes, {len(rows)} rows")
        self.ids, self.hashes, self.rows, self.seed = ids, hashes, rows, seed

    @classmethod
    def of(cls, ids: Texts) -> IdTable:
        """Hash the ids of a catalogue. Raises ValueError on duplicates."""
        if len(set(ids)) < len(ids):
            raise ValueError("an entity_id occurs twice")
        for seed in count():
            hashes = _hash_all(ids, seed)
            rows = np.argsort(hashes, kind="stable").astype(np.int32)
            hashes = hashes[rows]
            if not (hashes[1:] == hashes[:-1]).any():
                return cls(ids, hashes, rows, seed)
        raise AssertionError("unreachable")

    @classmethod
    def from_arrays(cls, ids: Texts, arrays: Mapping[str, NDArray[Any]]) -> IdTable:
        """Build from `arrays()`. Raises ValueError where lengths disagree, KeyError where an array is missing."""
        return cls(ids, arrays["id_hashes"].view(np.uint64), arrays["id_rows"], int(arrays["id_seed"][0]))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All arrays by name, for a file, without the ids."""
        hashes = self.hashes.view(np.int64)  # torch, which maps the file, supports few operations on uint64
        return {"id_hashes": hashes, "id_rows": self.rows, "id_seed": np.array([self.seed])}

    def find(self, ids: Sequence[str]) -> Ints:
        """Rows, -1 = unknown. [C]"""
        packed = [encoded(entity_id) for entity_id in ids]
        hashes = hashed(packed, self.seed)
        places = np.minimum(self.hashes.searchsorted(hashes), len(self.hashes) - 1)
        matches = np.flatnonzero(self.hashes[places] == hashes)
        rows = np.full(len(ids), -1, np.int64)
        rows[matches] = self.rows[places[matches]]
        if matches.size:
            self._verify(packed, matches, rows)
        return rows

    def _verify(self, packed: list[bytes], matches: Ints, rows: Ints) -> None:
        """Set a row to -1 where only the hash is equal and the string differs."""
        wanted = [packed[place] for place in matches.tolist()]
        lengths, stored = self.ids.joined(rows[matches])
        if stored == b"".join(wanted) and lengths.tolist() == [len(data) for data in wanted]:
            return
        stored_ids = [encoded(entity_id) for entity_id in self.ids.take(rows[matches])]
        rows[matches[[data != stored_id for data, stored_id in zip(wanted, stored_ids, strict=True)]]] = -1

    def __getitem__(self, entity_id: str) -> int:
        row = int(self.find([entity_id])[0])
        if row < 0:
            raise KeyError(entity_id)
        return row

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __len__(self) -> int:
        return len(self.ids)


def find(rows: Mapping[str, int], ids: Sequence[str]) -> Ints:
    """Rows of many ids, -1 = unknown, from a dictionary or a table. [C]"""
    if isinstance(rows, IdTable):
        return rows.find(ids)
    return np.fromiter(map(rows.get, ids, repeat(-1)), np.int64, len(ids))


def hashed(packed: Sequence[bytes], seed: int) -> Hashes:
    """A 64-bit hash of each byte string: its 8-byte words, each mixed with a key of its position, summed. [C]

    All strings are padded to the longest, so of strings above `_LONGEST` bytes a digest is hashed.
    """
    lengths = np.fromiter(map(len, packed), np.int64, len(packed))
    if lengths.max(initial=0) > _LONGEST:
        packed = [data if len(data) <= _LONGEST else blake2b(data, digest_size=32).digest() for data in packed]
    width = max(1, -(-max(map(len, packed), default=0) // _WORD))
    words = np.array(packed, f"S{width * _WORD}").view("<u8").reshape(len(packed), width)
    keys = _mix(np.arange(1, width + 1, dtype=np.uint64) + np.uint64(seed << 32))
    summed = np.where(words, _mix(words ^ keys), np.uint64(0)).sum(1, dtype=np.uint64)  # independent of the width
    return _mix(summed + lengths.astype(np.uint64))


def _mix(words: Hashes) -> Hashes:
    """The finaliser of MurmurHash3 (Appleby 2011): every bit of a word depends on every other."""
    words = words ^ words >> np.uint64(33)
    words = words * np.uint64(0xFF51AFD7ED558CCD)
    words = words ^ words >> np.uint64(33)
    words = words * np.uint64(0xC4CEB9FE1A85EC53)
    return words ^ words >> np.uint64(33)


def _hash_all(ids: Texts, seed: int) -> Hashes:
    parts = [hashed([encoded(text) for text in ids[start:end]], seed) for start, end in chunks(len(ids), _CHUNK)]
    return np.concatenate([np.zeros(0, np.uint64), *parts])
