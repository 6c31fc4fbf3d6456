"""Query ↔ entity: lexical coverage of each field, similarity of the name, text cosine. Does not rank or retrieve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.catalogue.encoding import EntityEncoder, query_bag
from model.catalogue.records import Records
from model.features.candidates import FIELD_MASK, Candidates, StaticColumns, fields_of_masks, marked_tokens
from model.features.layout import FeatureGroup, Floats, Ints, write_rows
from model.text.corrections import Corrections
from model.text.latent import TextVectors
from model.text.normalise import trigrams
from model.text.query_words import MAX_QUERY_WORDS, query_words
from model.text.vocabulary import Vocabulary

Masks = NDArray[np.uint16]
LISTED = 0.3  # share of the uses of a word from which lists of values count as holding it
STEM_SHARE = 0.5  # coverage of a query word by a word of the same stem
_FULL = 0.999  # share of the weight that counts as all of it
_PREFIX_SLOT = MAX_QUERY_WORDS + 1
_TRIGRAM_SLOT = MAX_QUERY_WORDS + 2
_STEM_SLOT = MAX_QUERY_WORDS + 3  # and up, one per word
_OF_WORDS = (
    "exact_in_name", "in_any_field", "unexplained_words", "rarest_unexplained", "name_in_query",
    "whole_query_in_name", "whole_name_in_query", "query_in_one_list",
)  # fmt: skip
_OF_TRIGRAMS = ("name_dice", "grams_in_name", "name_in_grams")


@dataclass(frozen=True, slots=True)
class EncodedQuery:
    """A query as the match features read it. No words = no query."""

    words: tuple[str, ...]
    last: int  # place of the word typed last, which also matches as a prefix
    weights: Floats  # [K] inverse document frequency
    listed: Floats  # [K] the same of words that lists of values hold; they sum to 1
    text: Floats  # [Dt]
    grams: frozenset[str]
    meanings: tuple[tuple[int, ...], ...]  # ids of each word and of what else it may mean
    corrected: tuple[tuple[str, str], ...] = ()  # typed, meant
    joined: tuple[str, ...] = ()  # words typed as two
    given: bool = True  # False = a rule filled it


def encode_query(
    vocabulary: Vocabulary, corrections: Corrections, vectors: TextVectors, text: str | None
) -> EncodedQuery:
    """Words, weights and text vector of a query; a null query is empty."""
    read = query_words(text or "", vocabulary, corrections)
    ordered = list(read.words)
    others = dict(zip(read.words, read.others, strict=True))
    distinct = tuple(others)
    weights = np.array([vocabulary.query_weight(word) for word in distinct], np.float32)
    vector = vectors.vector(query_bag(ordered, vectors.table.shape[0]))
    last = distinct.index(ordered[-1]) if ordered else -1
    listed = weights * [_is_listed(vocabulary, word) for word in distinct]
    listed = listed if listed.any() else weights  # a query of other words
    shares = (listed / max(float(listed.sum()), 1e-9)).astype(np.float32)
    grams = frozenset(trigrams(ordered)) if ordered else frozenset()
    meanings = tuple(
        tuple(number for meant in (word, *others[word]) for number in vocabulary.meanings(meant)) for word in distinct
    )
    return EncodedQuery(distinct, last, weights, shares, vector, grams, meanings, read.corrected, read.joined)


def _is_listed(vocabulary: Vocabulary, word: str) -> bool:
    """Whether lists of values hold a word or words of its stem, as they do genres and people, but not "films from"."""
    number, stem = vocabulary.id(word), stem_of(word)
    ranges = [(number, number + 1), *([vocabulary.prefix_range(stem)] if stem else [])]
    return any(vocabulary.list_share(start, end) >= LISTED for start, end in ranges)


def stem_of(word: str) -> str | None:
    """The common prefix of words with the same stem, roughly, in any language; None for words that are too short.

    >>> stem_of("comedies"), stem_of("robots"), stem_of("toys")
    ('comed', 'robo', None)
    """
    return word[: max(4, len(word) - 3)] if len(word) > 4 and word.isalpha() else None


@dataclass(frozen=True, slots=True)
class _Hits:
    """Matches of the K words of a query in C candidates, as masks of the fields that match."""

    exact: Masks  # [C, K]
    covered: Masks  # [C, K] exact, and for the last word also as a prefix
    stems: Masks  # [C, K] words of the same stem
    grams: Ints  # [C] number of trigrams that the name shares


class QueryFeatures:
    """Computes the group. Holds a scratch table, so use an instance in one thread only."""

    def __init__(self, encoder: EntityEncoder) -> None:
        by_field = tuple(f"query_in_{name}" for name in encoder.fields)
        self.group = FeatureGroup("query", (by_field, _OF_WORDS, _OF_TRIGRAMS, ("query_text",)), needs="query")
        self._vocabulary = encoder.vocabulary
        self._static = StaticColumns.of(encoder)
        self._in_fields = fields_of_masks(len(encoder.fields))
        self._lists = np.flatnonzero(self._in_fields[encoder.lists] > 0)
        self._slots = np.zeros(len(encoder.vocabulary.weights), np.uint8)  # scratch

    def write(self, query: EncodedQuery, candidates: Candidates, rows: Floats) -> None:
        """The features of C candidates into `rows` [A, C]; the query has words."""
        hits, records = self._hits(query, candidates), candidates.records
        by_field, of_words, of_trigrams, text = self.group.split(rows)
        self._write_words(query, hits, records, by_field, of_words)
        in_query, in_name = len(query.grams), records.static[:, self._static.name_trigrams]
        shared = hits.grams
        write_rows(
            of_trigrams, 2 * shared / (in_query + in_name), shared / in_query, shared / np.maximum(in_name, 1)
        )  # fmt: skip
        text[:] = records.text @ query.text

    def _write_words(
        self, query: EncodedQuery, hits: _Hits, records: Records, by_field: Floats, of_words: Floats
    ) -> None:
        weights = query.weights / query.weights.sum()
        covered, stems = (self._in_fields.take(m, axis=0) for m in (hits.covered, hits.stems & ~hits.covered))
        coverage = weights @ covered  # [C, fields]
        whole_query = coverage[:, 0] > _FULL
        coverage += STEM_SHARE * (weights @ stems)
        in_lists = (query.listed @ (covered + stems))[:, self._lists].max(1, initial=0)
        by_field[:] = coverage.T
        exact_name = (hits.exact & 1) @ weights
        matched = hits.covered != 0
        rarest = np.where(matched | (hits.stems != 0), 0.0, query.weights).max(1) / self._vocabulary.unknown_idf
        name_idf = records.static[:, self._static.name_idf]
        name_in_query = exact_name * query.weights.sum() / np.maximum(name_idf, 1e-6)
        write_rows(
            of_words, exact_name, matched @ weights, (~matched).sum(1), rarest, name_in_query,
            whole_query, name_in_query > _FULL, in_lists,
        )  # fmt: skip

    def _hits(self, query: EncodedQuery, candidates: Candidates) -> _Hits:
        tokens = candidates.records.tokens
        total, count = len(tokens), len(query.words)
        marks = self._slots_of(query, candidates.token_ids)
        places, bounds = marked_tokens(marks, tokens)
        owner = np.repeat(np.arange(total), np.diff(bounds))
        slot, mask = marks[places], (tokens.values[places] & FIELD_MASK).astype(np.uint16)
        exact = np.zeros((total, count), np.uint16)
        words_only = slot <= MAX_QUERY_WORDS
        np.bitwise_or.at(exact, (owner[words_only], slot[words_only] - 1), mask[words_only])
        prefix = np.zeros(total, np.uint16)
        np.bitwise_or.at(prefix, owner[slot == _PREFIX_SLOT], mask[slot == _PREFIX_SLOT])
        stems = np.zeros((total, count), np.uint16)
        of_stem = slot >= _STEM_SLOT
        np.bitwise_or.at(stems, (owner[of_stem], slot[of_stem] - _STEM_SLOT), mask[of_stem])
        grams = np.bincount(owner[slot == _TRIGRAM_SLOT], minlength=total)
        return _Hits(exact, _with_prefix(query, exact, prefix), stems, grams)

    def _slots_of(self, query: EncodedQuery, token_ids: Ints) -> NDArray[np.uint8]:
        """The slot of each token, 0 = none. [tokens]"""
        touched, grams_touched = self._mark(query)
        marks = self._slots.take(token_ids)
        self._slots[grams_touched] = 0
        for start, end in touched:
            self._slots[start:end] = 0
        return marks

    def _mark(self, query: EncodedQuery) -> tuple[list[tuple[int, int]], list[int]]:
        """Write the slot of each stem, prefix, trigram and word into the scratch table.

        Returns the entries to clear afterwards: ranges of word ids, and ids of trigrams.
        """
        touched: list[tuple[int, int]] = []
        for number, word in enumerate(query.words):
            if (root := stem_of(word)) is not None:
                self._mark_range(self._vocabulary.prefix_range(root), _STEM_SLOT + number, touched)
        self._mark_range(self._vocabulary.typed_range(query.words[query.last]), _PREFIX_SLOT, touched)
        grams = [gram_id for gram_id in map(self._vocabulary.gram_id, query.grams) if gram_id is not None]
        self._slots[grams] = _TRIGRAM_SLOT
        for number, meanings in enumerate(query.meanings):
            for word_id in meanings:
                self._mark_range((word_id, word_id + 1), number + 1, touched)
        return touched, grams

    def _mark_range(self, ids: tuple[int, int], slot: int, touched: list[tuple[int, int]]) -> None:
        self._slots[ids[0] : ids[1]] = slot
        touched.append(ids)


def _with_prefix(query: EncodedQuery, exact: Masks, prefix: Masks) -> Masks:
    """exact [C, K], plus matches of the last word as a prefix, `prefix` [C]."""
    covered = exact.copy()
    covered[:, query.last] |= prefix
    for place, word in enumerate(query.words):  # query words that begin with the last word count as its prefix matches
        if word.startswith(query.words[query.last]):
            covered[:, query.last] |= exact[:, place]
    return covered
