"""A dataset made ready for one training run: encoded entities, outcome tables, units, encoders. No learning here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from model.catalogue.encoding import EntityArrays, EntityEncoder
from model.catalogue.records import Records, assemble
from model.config import Config
from model.context.imputation import DEFAULT_RULES, Rules, can_fill
from model.datasets.dataset import Dataset
from model.events import engagement
from model.events.engagement import Engagement
from model.events.timelines import LabelledRanking, Timeline, labelled_rankings, timelines
from model.features.match import MatchFeatures
from model.learning.sampling import Sampler
from model.network.inputs import ContextEncoder
from model.network.ranker import Ranker, Sizes
from model.retrieval.lexical import LexicalIndex, Postings

Say = Callable[[str], None]
ALIKE = 100  # entities that hard negatives of a query are drawn from


@dataclass(slots=True)
class TrainingData:
    """Everything that a run learns from, and what its artefact will carry."""

    config: Config
    dataset: Dataset
    parts: tuple[str, ...]
    tasks: list[str]
    ids: list[str]
    rows: dict[str, int]
    names: dict[str, str]
    encoder: EntityEncoder
    arrays: EntityArrays
    tables: list[Engagement]
    users: list[str]
    countries: list[str]
    tastes: np.ndarray  # [tables, countries, Dz] what is liked there
    histories: dict[str, Timeline]
    rankings: list[LabelledRanking]
    rules: Rules
    say: Say

    def contexts(self) -> ContextEncoder:
        """A context encoder of its own for each caller: match features hold scratch tables, one thread each."""
        return ContextEncoder(self._matcher(), self.tasks, self.users, self.countries, self.tastes)

    def _matcher(self) -> MatchFeatures:
        return MatchFeatures(self.encoder, bool(self.countries))

    def records(self, fold: int, vector: np.ndarray | None = None) -> Records:
        """Records with the outcomes of one table; without vectors they are zeros (the tower is under training)."""
        width = self.config.network.width
        zeros = np.zeros((len(self.ids), width), np.float32)
        return assemble(self.arrays, self.tables[fold], zeros if vector is None else vector)

    def sampler(self, rankings: Sequence[LabelledRanking]) -> Sampler:
        """Draws the examples."""
        vocabulary = self.encoder.vocabulary
        postings = Postings.of(self.arrays.tokens, len(vocabulary.weights), np.zeros(len(self.ids), np.float32))
        index = LexicalIndex(postings, vocabulary)
        encode = self._matcher().encode_query
        return Sampler(
            rankings, self.histories, self.rows, self.names, self.rules, self.config.training,
            lambda query: index.search(encode(query), ALIKE),
        )  # fmt: skip

    def ranker(self) -> Ranker:
        """A new network of the right sizes."""
        sizes = Sizes(
            tasks=len(self.tasks),
            users=len(self.users),
            countries=len(self.countries),
            entities=len(self.ids),
            features=len(self._matcher().names),
            numbers=2 * len(self.encoder.numbers),
        )
        return Ranker(self.config.network, sizes)

    def popularity(self) -> np.ndarray:
        """Positives of each entity in the rows under training. [N]"""
        positive = part_rows(self.dataset.events, self.parts).filter(pl.col("label") > 0)["entity_id"]
        return np.bincount([self.rows[entity] for entity in positive], minlength=len(self.ids)).astype(np.float64)


def part_rows(events: pl.DataFrame, parts: Collection[str]) -> pl.DataFrame:
    """The rows of some parts; a table without parts is all training."""
    if events["part"].null_count() == len(events):
        return events if "train" in parts else events.clear()
    return events.filter(pl.col("part").is_in(list(parts)))


def prepare(
    dataset: Dataset,
    config: Config,
    tasks: Sequence[str] | None = None,
    parts: Sequence[str] = ("train",),
    say: Say = lambda _: None,
) -> TrainingData:
    """Encode a dataset for training on the rows of `parts`; `tasks` None = all that these rows have.

    Raises ValueError, one sentence, where a task has no row or nothing can be learned from those that there are.
    """
    if not dataset.entities:
        raise ValueError(f"dataset '{dataset.name}' has no entities: there is nothing to rank")
    events = _chosen(dataset, tasks, parts)
    every = rankable(labelled_rankings(events), DEFAULT_RULES)
    _refuse_unlearnable(dataset.name, events, every)
    ids = [str(entity["entity_id"]) for entity in dataset.entities]
    rows = {entity_id: row for row, entity_id in enumerate(ids)}
    encoder, arrays = EntityEncoder.fit(dataset.entities, dataset.columns, config.network, config.seed, say)
    task_names = sorted({ranking.context.task for ranking in every})
    users, countries = _distinct(events, "user_id"), _distinct(events, "country")
    tables = _outcomes(events, rows, config, say)
    return TrainingData(
        config, dataset, tuple(parts), task_names, ids, rows, _names(dataset), encoder, arrays,
        tables, users, countries, _tastes(events, rows, countries, tables), timelines(events), every,
        DEFAULT_RULES, say,
    )  # fmt: skip


def _chosen(dataset: Dataset, tasks: Sequence[str] | None, parts: Sequence[str]) -> pl.DataFrame:
    events = part_rows(dataset.events, parts)
    there = sorted(events["task"].unique().to_list())
    missing = [task for task in tasks or () if task not in there]
    if missing or not there:
        raise ValueError(
            f"dataset '{dataset.name}' has no rows for parts {list(parts)} and tasks {missing or 'all'};"
            f" there are rows for {', '.join(there) or 'none'}"
        )
    return events if tasks is None else events.filter(pl.col("task").is_in(list(tasks)))


def _refuse_unlearnable(name: str, events: pl.DataFrame, every: Sequence[LabelledRanking]) -> None:
    """Raise ValueError where no unit has a positive label."""
    if any((ranking.labels > 0).any() for ranking in every):
        return
    if (events["label"] > 0).any():
        raise ValueError(f"dataset '{name}': no positive row can be ranked: more_like_this needs a source_entity_id")
    raise ValueError(f"dataset '{name}': there is no positive label among the {events.height} rows under training")


def rankable(every: Sequence[LabelledRanking], rules: Rules) -> list[LabelledRanking]:
    """The units whose context can be filled: a more-like-this row without a source ranks nothing."""
    return [ranking for ranking in every if can_fill(ranking.context, rules)]


def _names(dataset: Dataset) -> dict[str, str]:
    return {str(entity["entity_id"]): str(entity["display_name"]) for entity in dataset.entities}


def _distinct(events: pl.DataFrame, column: str) -> list[str]:
    return sorted(events[column].drop_nulls().unique().to_list())


def _outcomes(events: pl.DataFrame, rows: Mapping[str, int], config: Config, say: Say) -> list[Engagement]:
    """Outcome tables from the rows that carry a user: likes, and what was met alone and not liked, as a low rating is.

    Both say what goes together. A row passed over among others on a page says more of the page, and is left out.
    """
    alone = pl.len().over("ranking_id", "task") == 1
    met = events.filter(
        (pl.col("task") != "more_like_this") & pl.col("user_id").is_not_null() & ((pl.col("label") > 0) | alone)
    )
    network = config.network
    return engagement.fit_folds(
        met["user_id"].to_list(), np.array([rows[entity] for entity in met["entity_id"]], np.int64), len(rows),
        network.engagement_width, network.engagement_ridge, config.training.folds, config.seed, say,
        np.where(met["label"].to_numpy() > 0, 1.0, network.engagement_passed),
    )  # fmt: skip


def _tastes(
    events: pl.DataFrame, rows: Mapping[str, int], countries: Sequence[str], tables: Sequence[Engagement]
) -> np.ndarray:
    """What the people of each country like, in the space of each table and without the users that it leaves out."""
    places = {country: place for place, country in enumerate(countries)}
    liked = events.filter((pl.col("label") > 0) & pl.col("user_id").is_not_null() & pl.col("country").is_not_null())
    entities = np.array([rows[entity] for entity in liked["entity_id"]], np.int64)
    own = np.array([places[country] for country in liked["country"]], np.int64)
    folds = engagement.folds_of(liked["user_id"].to_list(), len(tables) - 1)
    kept = [folds != left_out for left_out in range(len(tables))]
    made = [engagement.tastes(t, entities[k], own[k], len(countries)) for t, k in zip(tables, kept, strict=True)]
    return np.stack(made)
