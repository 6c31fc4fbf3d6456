"""A dataset with everything that the models of a study share: protocols, histories, likes, texts; and evaluation.

Each is computed on first use. Knows no model by name, and no cells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from itertools import count
from typing import Any

import numpy as np
import polars as pl

from model.baselines.bm25 import BM25
from model.config import Config
from model.context.context import MORE_LIKE_THIS
from model.datasets.dataset import Dataset
from model.evaluation.protocols import RankingResults, Subject
from model.events.derived import observed
from model.events.timelines import timelines
from model.learning.training_data import part_rows, prepare
from model.learning.validation import subject_of
from model.network.catalogue import CatalogueRanker
from model.studies.judged_pairs import JudgedPair
from model.studies.protocols import Protocol, ask, histories_before, main_value, protocols
from model.studies.subjects import WordFeatures, field_texts

Say = Callable[[str], None]


class StudyData:
    """A dataset with everything that several models share, computed on first use."""

    def __init__(
        self, dataset: Dataset, config: Config, say: Say = lambda _: None, pairs: Sequence[JudgedPair] = ()
    ) -> None:
        self.dataset, self.config, self.say, self.pairs = dataset, config, say, pairs
        self.rows = {str(entity["entity_id"]): row for row, entity in enumerate(dataset.entities)}

    @cached_property
    def protocols(self) -> dict[str, dict[str, Protocol]]:
        """Part → name → protocol."""
        return {part: {p.name: p for p in protocols(self.dataset, part, self.pairs)} for part in ("validation", "test")}

    @cached_property
    def histories(self) -> dict[str, Any]:
        """Part → histories of users before it."""
        return {part: histories_before(self.dataset, part) for part in ("validation", "test")}

    @cached_property
    def likes(self) -> tuple[np.ndarray, np.ndarray, int, int]:
        """Users and items of the training likes, and the number of users and of items."""
        positive = self._liked_rows()
        _, users = np.unique(np.array(positive["user_id"].to_list(), dtype=object), return_inverse=True)
        items = np.array([self.rows[entity] for entity in positive["entity_id"]], np.int64)
        return users.astype(np.int64), items, int(users.max(initial=-1)) + 1, len(self.rows)

    @cached_property
    def sequences(self) -> list[np.ndarray]:
        """Training likes per user, oldest first."""
        histories = timelines(self._liked_rows()).values()
        return [np.array([self.rows[event.entity_id] for event in timeline.events], np.int64) for timeline in histories]

    @cached_property
    def popularity(self) -> np.ndarray:
        """Number of positive training rows of each entity. [N]"""
        positive = observed(part_rows(self.dataset.events, ("train",))).filter(pl.col("label") > 0)["entity_id"]
        return np.bincount([self.rows[entity] for entity in positive], minlength=len(self.rows))

    @cached_property
    def texts(self) -> dict[str, list[str]]:
        """Text of each field of each entity."""
        return field_texts(self.dataset.entities, self.dataset.columns)

    @cached_property
    def index(self) -> BM25:
        """BM25 of all fields."""
        return BM25().fit(self.texts)

    @cached_property
    def words(self) -> WordFeatures:
        """The features of the classic LambdaMART."""
        return WordFeatures(self.index, self.dataset.entities, self.dataset.columns, self.popularity)

    @cached_property
    def match_catalogue(self) -> CatalogueRanker:
        """An untrained network's catalogue: match features need no weights."""
        data = prepare(self.dataset, self.config, say=self.say)
        return subject_of(data.ranker().eval(), data).catalogue

    def ranked(self, subject: Subject, names: Iterable[str]) -> dict[str, RankingResults]:
        """Results of a subject under the named protocols of the test part, as far as they exist."""
        test = self.protocols["test"]
        return {
            name: ask(subject, test[name], self.histories["test"], self._progress(test[name]))
            for name in names
            if name in test
        }

    def validation_value(self, subject: Subject, name: str) -> float:
        """Mean of the deciding metric of a subject under a protocol of the validation part."""
        protocol = self.protocols["validation"][name]
        return main_value(ask(subject, protocol, self.histories["validation"]), protocol)

    def _progress(self, protocol: Protocol) -> Callable[[], None]:
        """A callback that reports every 50th ranking."""
        numbers = count(1)

        def step() -> None:
            if (done := next(numbers)) % 50 == 0:
                self.say(f"{protocol.name}: {done} of {len(protocol.rankings)}")

        return step

    def _liked_rows(self) -> pl.DataFrame:
        rows = observed(part_rows(self.dataset.events, ("train",)))
        keep = (pl.col("label") > 0) & pl.col("user_id").is_not_null() & (pl.col("task") != MORE_LIKE_THIS)
        return rows.filter(keep)
