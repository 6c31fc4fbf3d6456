"""The words of a catalogue in sorted order, so that a prefix is a range of ids; and how rare each word is."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

FIELD_BITS = 10  # a token code = id << FIELD_BITS | bit mask of the fields that hold the word
TRIGRAM = "\x01"  # first character of the vocabulary entries that are character trigrams of display names


class Vocabulary:
    """Word ↔ id, inverse document frequency by id. Ids run in the order of the words."""

    def __init__(self, entries: list[str], idf: NDArray[np.float32]) -> None:
        self.entries = entries
        self.idf = idf
        self.unknown_idf = float(idf.max()) if len(idf) else 1.0
        self._ids = {entry: number for number, entry in enumerate(entries)}

    @classmethod
    def of(cls, documents: Iterable[Iterable[str]]) -> Vocabulary:
        """Build from the distinct words of each document."""
        frequency: Counter[str] = Counter()
        total = 0
        for document in documents:
            frequency.update(set(document))
            total += 1
        entries = sorted(frequency)
        counts = np.array([frequency[entry] for entry in entries], np.float64)
        return cls(entries, np.log1p(total / np.maximum(counts, 1)).astype(np.float32))

    def __len__(self) -> int:
        return len(self.entries)

    def id(self, entry: str) -> int | None:
        """Id of a word, or None where the catalogue never used it."""
        return self._ids.get(entry)

    def weight(self, entry: str) -> float:
        """Inverse document frequency; an unknown word weighs as much as the rarest."""
        number = self._ids.get(entry)
        return self.unknown_idf if number is None else float(self.idf[number])

    def prefix_range(self, prefix: str) -> tuple[int, int]:
        """Half-open range of the ids whose word starts with `prefix`.

        >>> Vocabulary.of([["story", "store", "toy"]]).prefix_range("sto")
        (0, 2)
        """
        return bisect_left(self.entries, prefix), bisect_left(self.entries, prefix + "\U0010ffff")
