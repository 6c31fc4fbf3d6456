"""Entities that share words with a query: an inverted index over the tokens that the match features hold.

The last word of the query counts as a prefix, so that results come while somebody types.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from model.data.matching import EncodedQuery
from model.data.ragged import Ragged
from model.data.vocabulary import FIELD_BITS, Vocabulary
from model.retrieval.dense import best_rows

Ints = NDArray[np.int64]
NAME_WEIGHT = 3.0  # a word of the display name counts this often
PREFIX_SHARE = 0.8  # a prefix match counts this much of a whole word
GRAM_WEIGHT = 0.15  # a shared character trigram of the name: typos


class LexicalIndex:
    """Postings of every word: rows and field masks, ordered by word id."""

    def __init__(self, tokens: Ragged, vocabulary: Vocabulary, entity_count: int) -> None:
        numbers = tokens.values >> FIELD_BITS
        order = np.argsort(numbers, kind="stable")
        self.vocabulary = vocabulary
        self.entity_count = entity_count
        self._rows = tokens.owners()[order].astype(np.int32)
        in_name = (tokens.values[order] & 1) == 1
        self._weights = np.where(in_name, NAME_WEIGHT, 1.0).astype(np.float32)
        self._starts = np.searchsorted(numbers[order], np.arange(len(vocabulary.weights) + 1))

    def search(self, query: EncodedQuery, k: int, exclude: Collection[int] = ()) -> Ints:
        """Rows of the k best matches, best first; only rows that match something. Empty for an empty query."""
        scores = np.zeros(self.entity_count, np.float32)
        for word, weight in zip(query.words, query.weights, strict=True):
            number = self.vocabulary.id(word)
            self._add(scores, number, number + 1, float(weight))
        if query.words:
            self._add_prefix(scores, query.words[query.last], float(query.weights[query.last]))
        for gram in query.grams:
            known = self.vocabulary.gram_id(gram)
            if known is not None:
                self._add(scores, known, known + 1, GRAM_WEIGHT)
        scores[scores <= 0] = -np.inf
        return best_rows(scores, k, exclude)

    def _add(self, scores: NDArray[np.float32], start: int, end: int, weight: float) -> None:
        span = slice(self._starts[start], self._starts[end])
        np.add.at(scores, self._rows[span], self._weights[span] * weight)

    def _add_prefix(self, scores: NDArray[np.float32], word: str, weight: float) -> None:
        """The best match of each entity among the words that start with `word`."""
        start, end = self.vocabulary.prefix_range(word)
        span = slice(self._starts[start], self._starts[end])
        best = np.zeros_like(scores)
        np.maximum.at(best, self._rows[span], self._weights[span] * weight * PREFIX_SHARE)
        scores += best
