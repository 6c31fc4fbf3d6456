"""The words of a catalogue with their inverse document frequency, sorted, so that a prefix is a range of ids.

Words outside the vocabulary get hashed ids after the others. So a later entity is found by new words in its name; a
prefix does not match such words. Beyond `MOST` words, the rarest get hashed ids, too.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from model.text.normalise import stable_hash

FIELD_BITS = 10  # a token code = id << FIELD_BITS | bit mask of the fields that hold the word
UNKNOWN = 2**16  # hashed ids for words outside the vocabulary
MOST = 2 ** (32 - FIELD_BITS) - UNKNOWN  # words and trigrams: a code has 32 bits
TRIGRAM = "\x01"  # first character of the entries that are character trigrams of display names
SPELLING = "\x02"  # first character of those that are other ways to type a name


class Vocabulary:
    """Word → id, and inverse document frequency by id. Ids follow the sorted order of the words."""

    def __init__(
        self, entries: list[str], idf: NDArray[np.float32], list_shares: NDArray[np.float32] | None = None
    ) -> None:
        """`list_shares` [words]: of the entities with a word, the share that has it in a list of values."""
        self.entries = entries
        self.idf = idf
        self.list_shares = np.zeros(len(idf), np.float32) if list_shares is None else list_shares
        frequency = 1 / np.expm1(idf.astype(np.float64))  # up to a factor
        self._totals = _cumulative(frequency)
        self._listed = _cumulative(frequency * self.list_shares)
        self.unknown_idf = float(idf.max()) if len(idf) else 1.0
        self.weights = np.append(idf, np.full(UNKNOWN, self.unknown_idf, np.float32))  # by id, including hashed ids
        self._ids = {entry: number for number, entry in enumerate(entries)}

    @classmethod
    def of(cls, documents: Iterable[Iterable[str]], most: int = MOST) -> Vocabulary:
        """Build from the words of each document. Keeps the `most` words with the highest document frequency.

        >>> Vocabulary.of([["story", "toy"], ["story", "a"]], most=2).entries
        ['a', 'story']
        """
        frequency: Counter[str] = Counter()
        total = 0
        for document in documents:
            frequency.update(set(document))
            total += 1
        entries = sorted(frequency)
        counts = np.array([frequency[entry] for entry in entries], np.float64)
        if len(entries) > most:
            kept = np.sort(np.argsort(-counts, kind="stable")[:most])
            entries, counts = [entries[place] for place in kept.tolist()], counts[kept]
        return cls(entries, np.log1p(total / np.maximum(counts, 1)).astype(np.float32))

    def __len__(self) -> int:
        return len(self.entries)

    def id(self, word: str) -> int:
        """Id of a word; `len(self)` or higher where it is outside the vocabulary."""
        number = self._ids.get(word)
        return len(self.entries) + stable_hash(word) % UNKNOWN if number is None else number

    def has(self, word: str) -> bool:
        """Whether an entity has the word."""
        return word in self._ids

    def spelling_id(self, word: str) -> int | None:
        """Id of a word as another way to type a name, or None where no name is typed so."""
        return self._ids.get(SPELLING + word)

    def meanings(self, word: str) -> list[int]:
        """Ids of a word: itself, and as another way to type a name."""
        spelling = self.spelling_id(word)
        return [self.id(word)] if spelling is None else [self.id(word), spelling]

    def gram_id(self, gram: str) -> int | None:
        """Id of a character trigram, or None where no name in the catalogue has it."""
        return self._ids.get(TRIGRAM + gram)

    def weight(self, word: str) -> float:
        """Inverse document frequency; an unknown word weighs as much as the rarest known one."""
        return float(self.weights[self.id(word)])

    def query_weight(self, word: str) -> float:
        """The same of a word in a query: the highest of what it may mean, so that "rocky 2" asks for the 2."""
        spelling = self.spelling_id(word)
        known = [self.weights[number] for number in (self._ids.get(word), spelling) if number is not None]
        return float(max(known, default=self.unknown_idf))

    def list_share(self, start: int, end: int) -> float:
        """Of the uses of the words with ids start … end-1, the share in lists of values, such as genres or people."""
        end = min(end, len(self.entries))
        total = float(self._totals[end] - self._totals[start]) if start < end else 0.0
        return float(self._listed[end] - self._listed[start]) / total if total else 0.0

    def prefix_range(self, prefix: str) -> tuple[int, int]:
        """Half-open range of the ids whose word starts with `prefix`.

        >>> Vocabulary.of([["story", "store", "toy"]]).prefix_range("sto")
        (0, 2)
        """
        return bisect_left(self.entries, prefix), bisect_left(self.entries, prefix + "\U0010ffff")

    def typed_range(self, prefix: str) -> tuple[int, int]:
        """The same for what somebody is typing: where no word starts so, other ways to type a name."""
        start, end = self.prefix_range(prefix)
        return (start, end) if start < end else self.prefix_range(SPELLING + prefix)

    @property
    def first_word(self) -> int:
        """The first id of a word; ids below are trigrams and other ways to type a name."""
        return self.prefix_range(SPELLING)[1]


def _cumulative(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([[0.0], np.cumsum(values)])
