"""Words of a catalogue that are one slip of the finger from a word that it lacks: symmetric deletion (Garbe 2012).

A letter too many, missing, replaced, or changed with its neighbour. An index of all words less one letter finds the
candidates by a few binary searches, in arrays that a file can hold: a dictionary of them would take a hundred times
the memory, and a comparison with every word a thousand times as long. Judges no query; `query_words.py` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import OSA

from model.text.normalise import stable_hash

Numbers = NDArray[np.uint32]
SHORTEST = 3  # letters; of three, only neighbours that changed places are mended
MOST = 3  # corrections of a word
NEIGHBOURS_CHANGED, FIRST_LETTER = 2.5, -1.0  # how much likelier a kind of slip is, in logarithms of frequency
CLOSE = 1.0  # what is less likely than the best by more than this is not meant


class Corrections:
    """Finds words by those with a letter less.

    `hashes` of such forms rise; `numbers`: the indices of their words [forms]; `log_counts` [words]: their frequency.
    """

    def __init__(self, hashes: Numbers, numbers: Numbers, log_counts: NDArray[np.float32]) -> None:
        self.hashes = hashes
        self.numbers = numbers
        self.log_counts = log_counts

    @classmethod
    def of(cls, words: Sequence[str], counts: NDArray[np.floating]) -> Corrections:
        """Index the words whose count is above 0. counts [words]"""
        numbers = np.flatnonzero(counts)
        hashes = np.fromiter((stable_hash(form) for n in numbers.tolist() for form in _forms(words[n])), np.uint64)
        owners = np.repeat(numbers.astype(np.uint64), [len(words[n]) + 1 for n in numbers.tolist()])
        keys = np.unique(hashes << np.uint64(32) | owners)
        log_counts = np.log1p(counts).astype(np.float32)
        return cls((keys >> np.uint64(32)).astype(np.uint32), keys.astype(np.uint32), log_counts)

    @classmethod
    def none(cls) -> Corrections:
        """Corrects nothing."""
        return cls.of((), np.zeros(0))

    def of_word(self, word: str, words: Sequence[str]) -> list[str]:
        """At most `MOST` words one slip away, the likeliest first, by their frequency and the kind of slip."""
        if len(word) < SHORTEST or not word.isalpha():
            return []
        found = {words[number]: float(self.log_counts[number]) for number in self._candidates(word)}
        near = {other: count + _likelihood(word, other) for other, count in found.items() if _is_one_slip(word, other)}
        least = max(near.values(), default=0.0) - CLOSE
        likely = [other for other in near if near[other] >= least]
        return sorted(likely, key=lambda other: (-near[other], other))[:MOST]

    def _candidates(self, word: str) -> set[int]:
        hashes = np.array([stable_hash(form) for form in _forms(word)], np.uint32)
        starts, ends = (np.searchsorted(self.hashes, hashes, side=side) for side in ("left", "right"))
        return {number for start, end in zip(starts, ends, strict=True) for number in self.numbers[start:end].tolist()}


def _forms(word: str) -> Iterator[str]:
    """A word, and all that it is less one letter."""
    yield word
    yield from (word[:place] + word[place + 1 :] for place in range(len(word)))


def _is_one_slip(word: str, other: str) -> bool:
    if min(len(word), len(other)) <= SHORTEST:
        return _neighbours_changed(word, other)
    return OSA.distance(word, other, score_cutoff=1) == 1


def _neighbours_changed(word: str, other: str) -> bool:
    return len(word) == len(other) and sorted(word) == sorted(other) and OSA.distance(word, other, score_cutoff=1) == 1


def _likelihood(word: str, other: str) -> float:
    return NEIGHBOURS_CHANGED * _neighbours_changed(word, other) + FIRST_LETTER * (word[0] != other[0])
