"""Adapts the specialists to `evaluate`: each gives the rows of a catalogue a score in a context."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model.baselines.bm25 import ALL, BM25
from model.baselines.lambdamart import LambdaMART, Slates
from model.catalogue.fields import text_values
from model.context.context import Context
from model.evaluation.protocols import Subject
from model.events.timelines import LabelledRanking
from model.network.catalogue import CatalogueRanker
from model.text.normalise import words

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Entity = Mapping[str, object]


class FromLikes(Protocol):
    """A recommender that scores all items from liked ones, oldest first."""

    def scores(self, history_items: Ints) -> NDArray[np.float32]:
        """[n_items]"""


class LikesSubject:
    """A recommender over a catalogue, fed with the source if there is one, else with the likes of the history."""

    def __init__(self, model: FromLikes, rows: Mapping[str, int]) -> None:
        self.model = model
        self.rows = rows

    def score(self, context: Context, rows: Ints | None) -> Floats:
        """Scores of the given rows, or of the whole catalogue."""
        liked = [self.rows[e.entity_id] for e in context.history if e.label > 0 and e.entity_id in self.rows]
        if context.source_entity_id is not None:
            liked = [self.rows[context.source_entity_id]]
        scores = np.asarray(self.model.scores(np.array(liked, np.int64)), np.float64)
        return scores if rows is None else scores[rows]


class WordFeatures:
    """Classic learning-to-rank features: BM25 per field, title overlap, numbers of the entity."""

    def __init__(self, index: BM25, entities: Sequence[Entity], columns: Mapping[str, str], counts: Ints) -> None:
        self.index = index
        self.titles = [frozenset(words(str(entity["display_name"]))) for entity in entities]
        numbers = [name for name, kind in columns.items() if kind == "number"]
        table = [[_number(entity.get(name)) for name in numbers] for entity in entities]
        self.static = np.column_stack([np.array(table, np.float32).reshape(len(entities), -1), np.log1p(counts)])

    def without_numbers(self) -> WordFeatures:
        """Word features only: with exact numbers, trees identify entities and memorise their judgments."""
        words_only = copy.copy(self)
        words_only.static = self.static[:, :0]
        return words_only

    def __call__(self, query: str, rows: Ints | None) -> NDArray[np.float32]:
        """[C, F]"""
        chosen = np.arange(len(self.titles)) if rows is None else rows
        query_words = frozenset(words(query))
        shared = np.array([len(query_words & self.titles[row]) for row in chosen], np.float32)
        lengths = np.array([len(self.titles[row]) for row in chosen], np.float32)
        overlap = np.stack([shared / max(len(query_words), 1), shared / np.maximum(lengths, 1), lengths], axis=1)
        scores = self.index.scores(query)[chosen]
        query_length = np.full((len(chosen), 1), len(query_words))
        return np.concatenate([scores, overlap, self.static[chosen], query_length], axis=1, dtype=np.float32)


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else float("nan")


class Bm25Subject:
    """BM25 by one column: a field, all fields, or the sum of name and all."""

    def __init__(self, index: BM25, column: str, rows: Mapping[str, int]) -> None:
        self.index, self.column, self.rows = index, column, rows

    def score(self, context: Context, rows: Ints | None) -> Floats:
        """Scores of the given rows, or of the whole catalogue."""
        columns = self.index.scores(context.query or "")
        names = self.index.names
        if self.column == "name + all":
            scores = columns[:, names.index("display_name")] + columns[:, names.index(ALL)]
        else:
            scores = columns[:, names.index(self.column)]
        return np.asarray(scores if rows is None else scores[rows], np.float64)


class ClassicTrees:
    """LambdaMART on words and popularity."""

    def __init__(self, model: LambdaMART, features: WordFeatures, rows: Mapping[str, int]) -> None:
        self.model, self.features, self.rows = model, features, rows

    def score(self, context: Context, rows: Ints | None) -> Floats:
        """Scores of the given rows, or of the whole catalogue."""
        return self.model.scores(self.features(context.query or "", rows))


class FeatureTrees:
    """LambdaMART on the match features of our network, from the same records."""

    def __init__(self, model: LambdaMART, catalogue: CatalogueRanker) -> None:
        self.model, self.catalogue, self.rows = model, catalogue, catalogue.rows

    def features(self, context: Context, rows: Ints | None) -> NDArray[np.float32]:
        """[C, F]"""
        encoded = self.catalogue.encode_context(self.catalogue.fill(context))
        records = self.catalogue.records.take(np.arange(len(self.rows)) if rows is None else rows)
        return self.catalogue.scorer.matcher(encoded.query, encoded.source, encoded.profile, records)

    def score(self, context: Context, rows: Ints | None) -> Floats:
        """Scores of the given rows, or of the whole catalogue."""
        return self.model.scores(self.features(context, rows))


class OwnEvents:
    """A model of a single task: its histories contain only events of that task."""

    def __init__(self, subject: Subject, task: str) -> None:
        self.subject, self.task, self.rows = subject, task, subject.rows

    def score(self, context: Context, rows: Ints | None) -> Floats:
        """Scores of the given rows, or of the whole catalogue."""
        history = tuple(event for event in context.history if event.task == self.task)
        return self.subject.score(replace(context, history=history), rows)


class WithNulls:
    """A model evaluated without some fields of the context, to measure their value."""

    def __init__(self, subject: Subject, **nulls: object) -> None:
        self.subject, self.nulls, self.rows = subject, nulls, subject.rows

    def score(self, context: Context, rows: Ints | None) -> Floats:
        """Scores of the given rows, or of the whole catalogue."""
        return self.subject.score(replace(context, **self.nulls), rows)  # type: ignore[arg-type]


def field_texts(entities: Sequence[Entity], columns: Mapping[str, str]) -> dict[str, list[str]]:
    """The text of each field of each entity, for an index of words."""
    names = ["display_name", *(name for name, kind in columns.items() if kind in ("text", "categories"))]
    return {name: [" ".join(text_values(entity.get(name))) for entity in entities] for name in names}


def slates_of(rankings: Sequence[LabelledRanking], rows: Mapping[str, int], features: Features) -> Slates:
    """Judged slates in the form that LambdaMART takes."""
    parts = [
        features(ranking.context, np.array([rows[e] for e in ranking.entity_ids], np.int64)) for ranking in rankings
    ]
    labels = np.concatenate([ranking.labels for ranking in rankings]).astype(np.float32)
    return np.concatenate(parts), labels, np.array([len(ranking.labels) for ranking in rankings], np.int64)


class Features(Protocol):
    """Features of given rows in a context."""

    def __call__(self, context: Context, rows: Ints, /) -> NDArray[np.float32]:
        """[C, F]"""
