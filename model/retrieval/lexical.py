"""Entities that share words with a query: an inverted index over the tokens of the records.

The last word of the query also matches as a prefix, for search as you type. A search reads only matching entities. Of a
very frequent word or prefix, it reads only the most popular matches; the rest of the query finds the others.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.catalogue.ragged import Ragged
from model.features.query import STEM_SHARE, EncodedQuery, stem_of
from model.retrieval.exact import best_rows
from model.text.vocabulary import FIELD_BITS, Vocabulary

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Codes = NDArray[np.uint32]
Keys = NDArray[np.uint64]
Weights = tuple[float, float, float]  # by place
NAME_WEIGHT = 3.0  # weight of a match in the display name
IN_TEXT, IN_LIST, IN_NAME = range(3)  # where an entity has a word: a list is a category or a year
FOR_QUERIES = (1.0, 1.0, NAME_WEIGHT)  # weight of a match by that place
FOR_TITLES = (0.0, 1.0, 1.0)  # a row titled Comedies holds comedies, not stories in which somebody laughs
PREFIX_SHARE = 0.8  # weight of a prefix match, relative to a full word
GRAM_WEIGHT = 0.15  # weight of a shared character trigram of the name, for typos
MOST_SHARED = 40  # words of a source
MOST = 2**17  # matches that one search reads


@dataclass(frozen=True, slots=True)
class Postings:
    """The entities with each word: first those with it in their name, then in a list, each group by popularity.

    A code is row << 2 | `IN_TEXT`, `IN_LIST` or `IN_NAME`; `codes[starts[w]:starts[w + 1]]` belong to word w. Arrays
    may be mapped.
    """

    codes: Codes  # [total]
    starts: Ints  # [words + 1]

    @classmethod
    def of(cls, tokens: Ragged, words: int, popularity: Floats, lists: int = 0) -> Postings:
        """Build from the tokens of N entities; word ids are below `words`. popularity [N], `lists` = their fields."""
        order = np.argsort(-popularity, kind="stable")
        ranked = tokens.take(order)
        in_name, in_list = (ranked.values & mask != 0 for mask in (1, lists))
        place = np.where(in_name, IN_NAME, np.where(in_list, IN_LIST, IN_TEXT)).astype(np.uint64)
        words_of = (ranked.values >> FIELD_BITS).astype(np.uint64)
        keys = (words_of << np.uint64(2) | np.uint64(IN_NAME) - place) << np.uint64(32)
        keys |= ranked.owners().astype(np.uint64)
        keys.sort()  # by word, then place, then popularity
        place = np.uint64(IN_NAME) - (keys >> np.uint64(32) & np.uint64(3))
        rows = order[keys & np.uint64(2**32 - 1)].astype(np.uint32)
        counts = np.bincount(ranked.values >> FIELD_BITS, minlength=words)
        return cls(rows << 2 | place.astype(np.uint32), np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Postings:
        """Build from `arrays()`. Raises ValueError where lengths disagree, KeyError where an array is missing."""
        codes, starts = arrays["posting_codes"], arrays["posting_starts"]
        if starts[-1:].tolist() != [len(codes)]:
            raise ValueError(f"{len(codes)} postings, expected {starts[-1:]}")
        return cls(codes, starts)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Both arrays by name, for a file."""
        return {"posting_codes": self.codes, "posting_starts": self.starts}

    def count(self, start: int, end: int) -> int:
        """The number of postings of the words start…end-1."""
        return int(self.starts[end] - self.starts[start])

    def of_words(self, start: int, end: int, most: int) -> Codes:
        """Codes of the words start…end-1; if more than `most`, only the first ones of each word, equally many."""
        if self.count(start, end) <= most:
            return self.codes[self.starts[start] : self.starts[end]]
        starts = self.starts[start:end]
        share = np.minimum(np.diff(self.starts[start : end + 1]), max(1, most // (end - start)))
        ends = np.cumsum(share)
        codes: Codes = self.codes[np.repeat(starts - ends + share, share) + np.arange(ends[-1])]
        return codes


@dataclass(frozen=True, slots=True)
class _Term:
    """One term of a query: it matches the words start…end-1, with a weight per match."""

    start: int
    end: int
    weight: float


class LexicalIndex:
    """Searches the postings of a catalogue. The cost depends on the number of matches, not on the catalogue."""

    def __init__(self, postings: Postings, vocabulary: Vocabulary, lists: int = 0) -> None:
        """`lists`: the fields of categories and years, as a mask; only `like` needs it."""
        self.postings = postings
        self.vocabulary = vocabulary
        self._lists = lists
        self._first_word = vocabulary.first_word

    def search(self, query: EncodedQuery, k: int, exclude: Collection[int] = ()) -> Ints:
        """Rows of the k best matches, best first; rows without a match are left out. Empty for an empty query."""
        if not query.words:
            return np.zeros(0, np.int64)
        words, prefix = self._terms(query)
        rows, scores = _sum_by_row(self._keys_of(words, FOR_QUERIES, [prefix]))
        if exclude:
            scores[np.isin(rows, np.fromiter(exclude, np.int64, len(exclude)))] = -np.inf
        return rows[best_rows(scores, k)]

    def titled(self, query: EncodedQuery) -> tuple[Ints, Floats]:
        """Distinct rows, ascending, that have words of a title in their lists or name, and how much of it they have."""
        stems = [(stem, w) for word, w in zip(query.words, query.weights, strict=True) if (stem := stem_of(word))]
        near = [_Term(*self.vocabulary.prefix_range(stem), STEM_SHARE * weight) for stem, weight in stems]
        rows, scores = _sum_by_row(self._keys_of(self._words(query), FOR_TITLES, near))
        return rows[scores > 0], scores[scores > 0]

    def like(self, tokens: Codes) -> tuple[Ints, Floats]:
        """Distinct rows, ascending, that share words of an entity's name and lists, and the weight of what they share.

        Weights are squared, as in a cosine; only the `MOST_SHARED` rarest words are looked up.
        """
        numbers = (tokens >> FIELD_BITS).astype(np.int64)
        listed = (tokens & (1 | self._lists) != 0) & (numbers >= self._first_word)
        numbers = numbers[listed]
        rarest = numbers[np.argsort(-self.vocabulary.weights[numbers], kind="stable")[:MOST_SHARED]]
        terms = [_Term(n, n + 1, float(self.vocabulary.weights[n]) ** 2) for n in rarest.tolist()]
        rows, scores = _sum_by_row(self._keys_of(terms, FOR_TITLES, []))
        return rows[scores > 0], scores[scores > 0]

    def _keys_of(self, exact: list[_Term], weights: Weights, near: list[_Term]) -> Keys:
        """(row, score) of each match. Of the words of one term of `near`, only an entity's best one counts."""
        terms = [*exact, *near]
        shares = _shares([self.postings.count(term.start, term.end) for term in terms])
        codes = [self.postings.of_words(t.start, t.end, share) for t, share in zip(terms, shares, strict=True)]
        whole, ranges = codes[: len(exact)], zip(codes[len(exact) :], near, strict=True)
        best = [_highest_by_row(_keys([code], [term], weights)) for code, term in ranges]
        return np.concatenate([*([_keys(whole, exact, weights)] if exact else ()), *best, np.zeros(0, np.uint64)])

    def _words(self, query: EncodedQuery) -> list[_Term]:
        meant = zip(query.meanings, query.weights.tolist(), strict=True)
        return [_Term(n, n + 1, weight) for numbers, weight in meant for n in numbers]

    def _terms(self, query: EncodedQuery) -> tuple[list[_Term], _Term]:
        """The words and trigrams of a query; and its last word as a prefix."""
        words = self._words(query)
        known = [self.vocabulary.gram_id(gram) for gram in sorted(query.grams)]
        grams = [_Term(n, n + 1, GRAM_WEIGHT) for n in known if n is not None]
        start, end = self.vocabulary.typed_range(query.words[query.last])
        return [*words, *grams], _Term(start, end, float(query.weights[query.last]) * PREFIX_SHARE)


def _shares(counts: list[int]) -> list[int]:
    """The number of matches that each term may use: rare terms use all theirs, the others share the rest.

    >>> _shares([MOST, 5, MOST]) == [(MOST - 5) // 2, MOST // 3, (MOST - 5) - (MOST - 5) // 2]
    True
    """
    shares, left = [0] * len(counts), MOST
    for rank, place in enumerate(sorted(range(len(counts)), key=counts.__getitem__)):
        shares[place] = left // (len(counts) - rank)
        left -= min(counts[place], shares[place])
    return shares


def _keys(codes: list[Codes], terms: list[_Term], weights: Weights) -> Keys:
    """Matches as row << 32 | bits of the score, so that one sort groups them by row."""
    scores = np.array([[weight * term.weight for weight in weights] for term in terms], np.float32)
    places = np.repeat(np.arange(len(terms)) * len(weights), [len(term_codes) for term_codes in codes])
    joined = np.concatenate(codes)
    keys: Keys = (joined >> 2).astype(np.uint64) << np.uint64(32)
    keys |= scores.view(np.uint32).ravel()[places + (joined & 3)]
    return keys


def _highest_by_row(keys: Keys) -> Keys:
    """The highest score of each row. Scores are positive, so their bits sort like the numbers."""
    keys = np.sort(keys)
    rows = keys >> np.uint64(32)
    return keys[np.append(rows[1:] != rows[:-1], True)] if len(keys) else keys


def _sum_by_row(keys: Keys) -> tuple[Ints, Floats]:
    """Distinct rows, ascending, and the sum of their scores."""
    if not len(keys):
        return np.zeros(0, np.int64), np.zeros(0, np.float32)
    keys.sort()
    rows = (keys >> np.uint64(32)).astype(np.int64)
    scores = keys.astype(np.uint32).view(np.float32)
    firsts = np.flatnonzero(np.append(True, rows[1:] != rows[:-1]))
    return rows[firsts], np.add.reduceat(scores, firsts)
