"""Entities that share words with a query: an inverted index over the tokens that the match features hold.

The last word of the query counts as a prefix, so that results come while somebody types. A search touches the entities
that share something, and of a word or prefix that very many share only the best known: the others are told apart by
the rest of the query.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.catalogue.ragged import Ragged
from model.features.query import EncodedQuery
from model.retrieval.exact import best_rows
from model.text.vocabulary import FIELD_BITS, Vocabulary

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Codes = NDArray[np.uint32]
Keys = NDArray[np.uint64]
NAME_WEIGHT = 3.0  # a word of the display name counts this often
PREFIX_SHARE = 0.8  # a prefix match counts this much of a whole word
GRAM_WEIGHT = 0.15  # a shared character trigram of the name: typos
MOST = 2**17  # matches that one search looks at


@dataclass(frozen=True, slots=True)
class Postings:
    """Who holds each word: first those with it in their name, and among them those that are engaged with most.

    A code is row << 1 | in the name; `codes[starts[w]:starts[w + 1]]` are those of word w. May be mapped.
    """

    codes: Codes  # [total]
    starts: Ints  # [words + 1]

    @classmethod
    def of(cls, tokens: Ragged, words: int, popularity: Floats) -> Postings:
        """From the tokens of N entities; word ids are below `words`. popularity [N]"""
        order = np.argsort(-popularity, kind="stable")
        ranked = tokens.take(order)
        elsewhere = ~ranked.values & 1
        keys = (ranked.values >> FIELD_BITS << 1 | elsewhere).astype(np.uint64) << np.uint64(32)
        keys |= ranked.owners().astype(np.uint64)
        keys.sort()  # by word, then where it stands, then rank
        in_name = ~(keys >> np.uint64(32)).astype(np.uint32) & 1
        rows = order[keys & np.uint64(2**32 - 1)].astype(np.uint32)
        counts = np.bincount(ranked.values >> FIELD_BITS, minlength=words)
        return cls((rows << 1 | in_name).astype(np.uint32), np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Postings:
        """Back from `arrays()`. Raises ValueError where they disagree, KeyError where one is missing."""
        codes, starts = arrays["posting_codes"], arrays["posting_starts"]
        if starts[-1:].tolist() != [len(codes)]:
            raise ValueError(f"{len(codes)} postings, expected {starts[-1:]}")
        return cls(codes, starts)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """By name, for a file."""
        return {"posting_codes": self.codes, "posting_starts": self.starts}

    def count(self, start: int, end: int) -> int:
        """How many postings the words start…end-1 have."""
        return int(self.starts[end] - self.starts[start])

    def of_words(self, start: int, end: int, most: int) -> Codes:
        """Codes of the words start…end-1; where they are more than `most`, each word brings as many of its first."""
        if self.count(start, end) <= most:
            return self.codes[self.starts[start] : self.starts[end]]
        starts = self.starts[start:end]
        share = np.minimum(np.diff(self.starts[start : end + 1]), max(1, most // (end - start)))
        ends = np.cumsum(share)
        codes: Codes = self.codes[np.repeat(starts - ends + share, share) + np.arange(ends[-1])]
        return codes


@dataclass(frozen=True, slots=True)
class _Term:
    """What a part of a query matches: words start…end-1, and what each counts."""

    start: int
    end: int
    weight: float


class LexicalIndex:
    """Searches the postings of a catalogue; what it costs depends on what matches, not on the size."""

    def __init__(self, postings: Postings, vocabulary: Vocabulary) -> None:
        self.postings = postings
        self.vocabulary = vocabulary

    def search(self, query: EncodedQuery, k: int, exclude: Collection[int] = ()) -> Ints:
        """Rows of the k best matches, best first; only rows that match something. Empty for an empty query."""
        if not query.words:
            return np.zeros(0, np.int64)
        rows, scores = _summed(self._matches(*self._terms(query)))
        if exclude:
            scores[np.isin(rows, np.fromiter(exclude, np.int64, len(exclude)))] = -np.inf
        return rows[best_rows(scores, k)]

    def _terms(self, query: EncodedQuery) -> tuple[list[_Term], _Term]:
        """Words and trigrams; and the last word as a prefix."""
        numbers = [self.vocabulary.id(word) for word in query.words]
        words = [_Term(n, n + 1, weight) for n, weight in zip(numbers, query.weights.tolist(), strict=True)]
        known = [self.vocabulary.gram_id(gram) for gram in sorted(query.grams)]
        grams = [_Term(n, n + 1, GRAM_WEIGHT) for n in known if n is not None]
        start, end = self.vocabulary.prefix_range(query.words[query.last])
        return [*words, *grams], _Term(start, end, words[query.last].weight * PREFIX_SHARE)

    def _matches(self, words: list[_Term], prefix: _Term) -> Keys:
        """(row, score) of every match; an entity has a word once, but many that begin alike: the best one counts."""
        terms = [*words, prefix]
        shares = _shares([self.postings.count(term.start, term.end) for term in terms])
        codes = [self.postings.of_words(t.start, t.end, share) for t, share in zip(terms, shares, strict=True)]
        return np.concatenate([_keys(codes[:-1], words), _highest(_keys(codes[-1:], [prefix]))])


def _shares(counts: list[int]) -> list[int]:
    """How many of its matches each term may bring: the rarest take what they need, the others share what is left.

    >>> _shares([MOST, 5, MOST]) == [(MOST - 5) // 2, MOST // 3, (MOST - 5) - (MOST - 5) // 2]
    True
    """
    shares, left = [0] * len(counts), MOST
    for rank, place in enumerate(sorted(range(len(counts)), key=counts.__getitem__)):
        shares[place] = left // (len(counts) - rank)
        left -= min(counts[place], shares[place])
    return shares


def _keys(codes: list[Codes], terms: list[_Term]) -> Keys:
    """row << 32 | bits of the score, so that one sort brings together what belongs to a row."""
    weights = np.array([(term.weight, NAME_WEIGHT * term.weight) for term in terms], np.float32)
    places = np.repeat(np.arange(len(terms)) * 2, [len(some) for some in codes])
    together = np.concatenate(codes)
    keys: Keys = (together >> 1).astype(np.uint64) << np.uint64(32)
    keys |= weights.view(np.uint32).ravel()[places + (together & 1)]
    return keys


def _highest(keys: Keys) -> Keys:
    """The highest score of each row: scores are positive, so their bits sort like the numbers."""
    keys = np.sort(keys)
    rows = keys >> np.uint64(32)
    return keys[np.append(rows[1:] != rows[:-1], True)] if len(keys) else keys


def _summed(keys: Keys) -> tuple[Ints, Floats]:
    """Distinct rows, ascending, and the sum of their scores."""
    if not len(keys):
        return np.zeros(0, np.int64), np.zeros(0, np.float32)
    keys.sort()
    rows = (keys >> np.uint64(32)).astype(np.int64)
    scores = keys.astype(np.uint32).view(np.float32)
    firsts = np.flatnonzero(np.append(True, rows[1:] != rows[:-1]))
    return rows[firsts], np.add.reduceat(scores, firsts)
