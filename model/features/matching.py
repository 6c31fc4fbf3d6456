"""Match features: how well a candidate answers a context, as F numbers. One function for training and serving.

Five groups: query ↔ entity (lexical coverage of each field, name likeness, text cosine), source ↔ entity (overlap
of each field, text cosine, co-engagement), history ↔ entity (co-engagement and text profiles), country ↔ entity
(co-engagement with what is liked there), and the entity alone. Each depends on the context and one entity, never on
the other candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.catalogue.encoding import EntityEncoder, query_bag
from model.catalogue.ragged import Ragged
from model.catalogue.records import Records
from model.text.latent import TextVectors
from model.text.normalise import trigrams, words
from model.text.vocabulary import FIELD_BITS, Vocabulary

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Masks = NDArray[np.uint16]
Given = tuple[bool, bool, bool, bool]  # query, source, history, country
MAX_QUERY_WORDS = 24
QUERIES_KEPT = 2**14  # encoded queries, about 1 KB each
_PREFIX_SLOT = MAX_QUERY_WORDS + 1
_TRIGRAM_SLOT = MAX_QUERY_WORDS + 2
_STEM_SLOT = MAX_QUERY_WORDS + 3  # and up, one a word
PRIOR_EVENTS = 4.0  # half of them liked, before anything is known of somebody
STEM_SHARE = 0.5  # a word of the same stem covers this much of the word asked for
_FIELD_MASK = (1 << FIELD_BITS) - 1


@dataclass(frozen=True, slots=True)
class EncodedQuery:
    """A query as the match features need it. Empty words = no query."""

    words: tuple[str, ...]
    last: int  # place of the word typed last, which counts as a prefix too
    weights: Floats  # [K] inverse document frequency
    text: Floats  # [Dt]
    grams: frozenset[str]


@dataclass(frozen=True, slots=True)
class Profile:
    """Who asks: a history summed into vectors of the co-engagement and the text space, and the taste of a country."""

    liked: Floats  # [3, Dz]: all, recent, last three
    passed: Floats  # [Dz]
    text: Floats  # [2, Dt]: all liked, recent liked
    size: float  # ln(1 + liked)
    liked_share: float  # of what was met, pulled towards one half; people differ in how often they like
    numbers: Floats  # [2, n] mean and highest of each number of the entities met; NaN where none has it
    events: int  # 0 = nobody's
    country: Floats | None = None  # [Dz] what is liked there more than elsewhere; None = not known


def given_parts(query: EncodedQuery, source: Records | None, profile: Profile) -> Given:
    """Which parts of a context there are to match."""
    return bool(query.words), source is not None, profile.events > 0, profile.country is not None


class MatchFeatures:
    """Computes the features. Holds a scratch table, so one instance serves one thread.

    `countries`: whether tastes of countries are known; else no feature tells of them.
    """

    def __init__(self, encoder: EntityEncoder, countries: bool = False) -> None:
        self.encoder = encoder
        self.vocabulary = encoder.vocabulary
        self.fields = encoder.fields
        self._slots = np.zeros(len(self.vocabulary.weights), np.uint8)
        self._masks = np.zeros(len(self.vocabulary.weights), np.uint16)
        masks = np.arange(2**FIELD_BITS)[:, None] >> np.arange(len(self.fields)) & 1
        self._in_fields = masks.astype(np.float32)  # [2^FIELD_BITS, fields] a mask as numbers
        self._squares = self.vocabulary.weights**2
        self._squares[: encoder.first_word] = 0.0
        names = encoder.static_names
        self._name_idf = names.index("name_idf")
        self._name_trigrams = names.index("name_trigrams")
        self._norms = slice(names.index("norm_display_name"), len(names))
        self._numbers = len(encoder.numbers)
        fields, numbers = len(self.fields), self._numbers
        self._country = int(countries)
        counts = (fields + 11, fields + numbers + 3, 7 + 2 * numbers, self._country, 4, 2 * numbers + 5)
        self._widths = counts  # of the groups that `names` has
        self.encode_query = lru_cache(QUERIES_KEPT)(partial(_encoded_query, self.vocabulary, encoder.vectors))
        self.columns = lru_cache(16)(partial(_varying_columns, self._widths))

    @property
    def names(self) -> list[str]:
        """The F names, in the order of the columns."""
        lexical = [f"query_in_{name}" for name in self.fields]
        name = ["exact_in_name", "in_any_field", "unexplained_words", "rarest_unexplained", "name_in_query"]
        whole = ["whole_query_in_name", "whole_name_in_query", "name_dice", "grams_in_name", "name_in_grams"]
        source = [f"source_{name}" for name in self.fields]
        distances = [f"source_distance_{column.name}" for column in self.encoder.numbers]
        pair = ["source_text", "source_engagement", "source_cosine"]
        history = [
            "liked",
            "liked_recent",
            "liked_last",
            "passed",
            "liked_cosine",
            "text_liked",
            "text_recent",
            *(f"history_mean_{column.name}" for column in self.encoder.numbers),
            *(f"history_most_{column.name}" for column in self.encoder.numbers),
        ]
        lengths = ["query_words", "query_idf", "history_size", "liked_share"]
        return [
            *lexical, *name, *whole, "query_text",
            *source, *distances, *pair,
            *history, *["liked_in_country"][: self._country], *lengths,
            *self.encoder.static_names[: 2 * self._numbers + 3], "engaged_count", "never_engaged",
        ]  # fmt: skip

    # ---- contexts -------------------------------------------------------------------------------------------

    def encode_history(self, history: Records, labels: Floats) -> Profile:
        """Sum the records of a history, oldest first, into a profile. labels [H]."""
        liked = np.flatnonzero(labels > 0)
        age = np.arange(len(liked))[::-1]
        recent = 0.9**age + 0.1
        z, text = history.engagement[liked], history.text[liked]
        passed = history.engagement[labels <= 0]
        profile = np.stack([z.sum(0), recent @ z, z[-3:].sum(0)]) if len(liked) else np.zeros((3, z.shape[1]))
        texts = np.stack([text.mean(0), recent @ text / recent.sum()]) if len(liked) else np.zeros((2, text.shape[1]))
        return Profile(
            profile.astype(np.float32),
            np.asarray(passed.sum(0), np.float32),
            texts.astype(np.float32),
            float(np.log1p(len(liked))),
            (len(liked) + PRIOR_EVENTS / 2) / (len(labels) + PRIOR_EVENTS),
            self._history_numbers(history.static),
            len(labels),
        )

    def _history_numbers(self, static: Floats) -> Floats:
        """Mean and highest of each number. static [H, S] → [2, n]"""
        values, known = self._known_numbers(static)
        count = known.sum(0)
        mean = values.sum(0) / np.maximum(count, 1)
        most = np.where(known, values, -np.inf).max(0, initial=-np.inf)
        return np.where(count > 0, np.stack([mean, most]), np.nan).astype(np.float32)

    def _known_numbers(self, static: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        """Standard scores, 0 where missing, and which are not. static [C, S] → [C, n] each"""
        known = static[:, self._numbers : 2 * self._numbers] == 0
        return static[:, : self._numbers], known

    # ---- features -------------------------------------------------------------------------------------------

    def __call__(
        self, query: EncodedQuery, source: Records | None, profile: Profile, candidates: Records
    ) -> NDArray[np.float32]:
        """Features [C, F] of C candidates for one context; `source` holds one record or is None."""
        features = np.tile(self.constant(query, profile), (len(candidates), 1))
        given = given_parts(query, source, profile)
        features[:, self.columns(given)] = self.varying(query, source, profile, candidates)
        return features

    def constant(self, query: EncodedQuery, profile: Profile) -> NDArray[np.float32]:
        """What is the same for every candidate, 0 elsewhere: an absent part of a context says 0 of everybody. [F]"""
        features = np.zeros(sum(self._widths), np.float32)
        mean_idf = float(query.weights.sum() / len(query.words)) if query.words else 0.0
        start = sum(self._widths[:4])
        features[start : start + 4] = len(query.words), mean_idf, profile.size, profile.liked_share
        return features

    def varying(
        self, query: EncodedQuery, source: Records | None, profile: Profile, candidates: Records
    ) -> NDArray[np.float32]:
        """Features [C, A] of the columns that differ between candidates."""
        given = given_parts(query, source, profile)
        rows = np.empty((len(self.columns(given)), len(candidates)), np.float32)  # [A, C]: a feature in one piece
        numbers = (candidates.tokens.values >> FIELD_BITS).astype(np.int64)  # once, as indices
        lengths = np.sqrt((candidates.engagement**2).sum(1)) if source is not None or given[2] else rows[0]
        start = 0
        if given[0]:
            start = self._widths[0]
            self._query_features(query, candidates, numbers, rows[:start])
        if source is not None:
            end = start + self._widths[1]
            self._source_features(source, candidates, numbers, lengths, rows[start:end])
            start = end
        if given[2]:
            end = start + self._widths[2]
            self._history_features(profile, candidates, lengths, rows[start:end])
            start = end
        if profile.country is not None:
            rows[start] = ease_scale((candidates.engagement @ profile.country) * candidates.inverse)
        rows[-2 * self._numbers - 5 : -2] = candidates.static[:, : 2 * self._numbers + 3].T
        rows[-2], rows[-1] = candidates.popularity, candidates.popularity == 0
        return rows.T

    def _query_features(self, query: EncodedQuery, candidates: Records, numbers: Ints, rows: Floats) -> None:
        """Into `rows` [A, C]; `numbers` are the words of the tokens."""
        exact, prefix, stem, grams = self._hits(query, candidates.tokens, numbers)
        covered = exact.copy()
        covered[:, query.last] |= prefix
        weights = query.weights / query.weights.sum()
        by_field = weights @ self._in_fields.take(covered, axis=0)  # [C, fields]
        whole = by_field[:, 0] > 0.999
        by_field += STEM_SHARE * (weights @ self._in_fields.take(stem & ~covered, axis=0))
        exact_name = (exact & 1) @ weights
        found = covered != 0
        any_field = found @ weights
        rarest = np.where(found | (stem != 0), 0.0, query.weights).max(1) / self.vocabulary.unknown_idf
        name_idf = candidates.static[:, self._name_idf]
        name_in_query = exact_name * query.weights.sum() / np.maximum(name_idf, 1e-6)
        in_query, in_name = len(query.grams), candidates.static[:, self._name_trigrams]
        single = [
            exact_name, any_field, (~found).sum(1), rarest, name_in_query,
            whole, name_in_query > 0.999,
            2 * grams / (in_query + in_name), grams / in_query, grams / np.maximum(in_name, 1),
            candidates.text @ query.text,
        ]  # fmt: skip
        rows[: len(self.fields)] = by_field.T
        for row, values in zip(rows[len(self.fields) :], single, strict=True):
            row[:] = values

    def _hits(
        self, query: EncodedQuery, tokens: Ragged, numbers: Ints
    ) -> tuple[Masks, Masks, Masks, NDArray[np.int64]]:
        """Field masks of each query word [C, K], of the last as a prefix [C], of stems [C, K]; shared trigrams [C]."""
        total, count = len(tokens), len(query.words)
        touched, grams_touched = self._mark(query)
        found = self._slots.take(numbers)
        self._slots[grams_touched] = 0
        for start, end in touched:
            self._slots[start:end] = 0
        places, bounds = _where(found, tokens)
        owner = np.repeat(np.arange(total), np.diff(bounds))
        slot, mask = found[places], (tokens.values[places] & _FIELD_MASK).astype(np.uint16)
        exact = np.zeros((total, count), np.uint16)
        words_only = slot <= MAX_QUERY_WORDS
        exact[owner[words_only], slot[words_only] - 1] = mask[words_only]
        prefix = np.zeros(total, np.uint16)
        np.bitwise_or.at(prefix, owner[slot == _PREFIX_SLOT], mask[slot == _PREFIX_SLOT])
        stem = np.zeros((total, count), np.uint16)
        stems = slot >= _STEM_SLOT
        np.bitwise_or.at(stem, (owner[stems], slot[stems] - _STEM_SLOT), mask[stems])
        for place, word in enumerate(query.words):  # words of the query that are themselves continuations of the prefix
            if word.startswith(query.words[query.last]):
                prefix |= exact[:, place]
        grams = np.bincount(owner[slot == _TRIGRAM_SLOT], minlength=total)
        return exact, prefix, stem, grams

    def _mark(self, query: EncodedQuery) -> tuple[list[tuple[int, int]], list[int]]:
        """Write the slot of each stem, prefix, trigram and word into the scratch table; returns what to clear: ranges
        of words, trigrams."""
        touched: list[tuple[int, int]] = []
        for number, word in enumerate(query.words):
            if (root := stem_of(word)) is not None:
                self._mark_range(self.vocabulary.prefix_range(root), _STEM_SLOT + number, touched)
        self._mark_range(self.vocabulary.prefix_range(query.words[query.last]), _PREFIX_SLOT, touched)
        grams = [found for found in map(self.vocabulary.gram_id, query.grams) if found is not None]
        self._slots[grams] = _TRIGRAM_SLOT
        for number, word in enumerate(query.words):
            found = self.vocabulary.id(word)
            self._mark_range((found, found + 1), number + 1, touched)
        return touched, grams

    def _mark_range(self, ids: tuple[int, int], slot: int, touched: list[tuple[int, int]]) -> None:
        self._slots[ids[0] : ids[1]] = slot
        touched.append(ids)

    def _source_features(
        self, source: Records, candidates: Records, numbers: Ints, lengths: Floats, rows: Floats
    ) -> None:
        """Into `rows` [A, C]; `numbers` are the words of the tokens, `lengths` those of the engagement vectors."""
        fields = len(self.fields)
        dot = candidates.engagement @ source.engagement[0]
        rows[:fields] = self._overlap(source, candidates, numbers).T
        distances = candidates.static[:, : self._numbers] - source.static[0, : self._numbers]
        np.abs(distances.T, out=rows[fields:-3])
        rows[-3] = candidates.text @ source.text[0]
        rows[-2] = ease_scale(dot * candidates.inverse)
        rows[-1] = dot / np.maximum(lengths * np.linalg.norm(source.engagement[0]), 1e-6)

    def _overlap(self, source: Records, candidates: Records, numbers: Ints) -> NDArray[np.float32]:
        """TF-IDF cosine of each field with the same field of the source. [C, fields]"""
        own = source.tokens.row(0)
        marked = (own >> FIELD_BITS).astype(np.int64)
        self._masks[marked] = own & _FIELD_MASK
        shared = self._masks.take(numbers) & candidates.tokens.values.astype(np.uint16)
        self._masks[marked] = 0
        places, bounds = _where(shared, candidates.tokens)
        in_fields = self._in_fields.take(shared.take(places), axis=0)
        in_fields *= self._squares.take(numbers.take(places))[:, None]
        sums = np.zeros((len(candidates), len(self.fields)), np.float32)
        touched = np.flatnonzero(np.diff(bounds))
        if touched.size:
            sums[touched] = np.add.reduceat(in_fields, bounds[touched], axis=0)
        norms = candidates.static[:, self._norms] * source.static[0, self._norms]
        return np.asarray(sums / np.maximum(norms, 1e-6), np.float32)

    def _history_features(self, profile: Profile, candidates: Records, lengths: Floats, rows: Floats) -> None:
        """Co-engagement of the profile with each candidate (EASE scores), text likeness, and numbers, into `rows`."""
        scores = candidates.engagement @ np.concatenate([profile.liked, profile.passed[None]]).T  # [C, 4]
        rows[:4] = ease_scale(scores * candidates.inverse[:, None]).T
        rows[4] = scores[:, 0] / np.maximum(lengths * np.linalg.norm(profile.liked[0]), 1e-6)
        rows[5:7] = (candidates.text @ profile.text.T).T
        self._number_features(profile, candidates, rows[7:].reshape(2, self._numbers, len(candidates)))

    def _number_features(self, profile: Profile, candidates: Records, rows: Floats) -> None:
        """How far each number lies from the mean and from the highest of the history, 0 where unknown, into `rows`
        [2, n, C].

        What is newer than all that somebody met could mostly not be met.
        """
        values, known = self._known_numbers(candidates.static)
        missing = np.ascontiguousarray(~known.T) | np.isnan(profile.numbers)[:, :, None]
        np.subtract(values.T, profile.numbers[:, :, None], out=rows)
        np.copyto(rows, 0, where=missing)


def _encoded_query(vocabulary: Vocabulary, vectors: TextVectors, query: str | None) -> EncodedQuery:
    """Words, weights and text vector of a query; a null query is empty."""
    ordered = words(query or "")[-MAX_QUERY_WORDS:]
    distinct = tuple(dict.fromkeys(ordered))
    weights = np.array([vocabulary.weight(word) for word in distinct], np.float32)
    text = vectors.vector(query_bag(ordered, vectors.table.shape[0]))
    last = distinct.index(ordered[-1]) if ordered else -1
    return EncodedQuery(distinct, last, weights, text, frozenset(trigrams(ordered)) if ordered else frozenset())


def _varying_columns(widths: Sequence[int], given: Given) -> Ints:
    """The columns that differ between candidates where those parts of a context are there. [A], rising"""
    *parts, _, alone = np.split(np.arange(sum(widths)), np.cumsum(widths)[:-1])
    asked = [part for part, there in zip(parts, given, strict=True) if there]
    return np.concatenate([*asked, alone])


def stem_of(word: str) -> str | None:
    """What words of the same stem begin with, roughly and in any language; None for words too short to tell.

    >>> stem_of("comedies"), stem_of("robots"), stem_of("toys")
    ('comed', 'robo', None)
    """
    return word[: max(4, len(word) - 3)] if len(word) > 4 and word.isalpha() else None


def _where(marks: NDArray[Any], tokens: Ragged) -> tuple[Ints, Ints]:
    """Places of the tokens whose mark is not 0; and where among these each row begins, rising. marks [total]"""
    places = np.flatnonzero(marks != 0)
    return places, np.searchsorted(places, tokens.offsets)


def ease_scale(scores: Floats) -> Floats:
    """EASE scores span three decades; this keeps their order and gives each decade room."""
    return np.asarray(np.arcsinh(100 * scores), np.float32)


def empty_profile(engagement_width: int, text_width: int, numbers: int) -> Profile:
    """The profile of nobody."""
    zeros = np.zeros((3, engagement_width), np.float32)
    unknown = np.full((2, numbers), np.nan, np.float32)
    return Profile(zeros, zeros[0], np.zeros((2, text_width), np.float32), 0.0, 0.5, unknown, 0)
