"""A dataset prepared for one training run: encoded entities, outcome tables, labelled rankings, encoders.

Does not train.
"""

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
from model.events.derived import observed
from model.events.engagement import Engagement
from model.events.timelines import LabelledRanking, Timeline, labelled_rankings, timelines
from model.features.match import MatchFeatures
from model.learning.sampling import Sampler
from model.network.inputs import ContextEncoder
from model.network.ranker import Ranker, Sizes
from model.retrieval.lexical import LexicalIndex, Postings

Say = Callable[[str], None]
ALIKE = 100  # entities from which hard negatives of a query are drawn


@dataclass(slots=True)
class TrainingData:
    """Everything that a run is trained on, and that goes into its artefact."""

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
    tastes: np.ndarray  # [tables, countries, Dz] mean taste of each country
    histories: dict[str, Timeline]
    rankings: list[LabelledRanking]
    rules: Rules
    say: Say

    def contexts(self) -> ContextEncoder:
        """A new context encoder; its match features hold scratch tables, so that each serves one thread only."""
        return ContextEncoder(self._matcher(), self.tasks, self.users, self.countries, self.tastes)

    def _matcher(self) -> MatchFeatures:
        return MatchFeatures(self.encoder, bool(self.countries))

    def records(self, fold: int, vector: np.ndarray | None = None) -> Records:
        """Records with the outcomes of one table; `vector` defaults to zeros (the tower is still under training)."""
        width = self.config.network.width
        zeros = np.zeros((len(self.ids), width), np.float32)
        return assemble(self.arrays, self.tables[fold], zeros if vector is None else vector)

    def sampler(self, rankings: Sequence[LabelledRanking]) -> Sampler:
        """A sampler of examples from these rankings."""
        vocabulary = self.encoder.vocabulary
        postings = Postings.of(self.arrays.tokens, len(vocabulary.weights), np.zeros(len(self.ids), np.float32))
        index = LexicalIndex(postings, vocabulary)
        encode = self._matcher().encode_query
        return Sampler(
            rankings, self.histories, self.rows, self.names, self.rules, self.config.training,
            lambda query: index.search(encode(query), ALIKE),
        )  # fmt: skip

    def ranker(self) -> Ranker:
        """A new network of the sizes that the data needs."""
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
        """Number of positives of each entity in the training rows that are not derived. [N]"""
        positive = observed(part_rows(self.dataset.events, self.parts)).filter(pl.col("label") > 0)["entity_id"]
        return np.bincount([self.rows[entity] for entity in positive], minlength=len(self.ids)).astype(np.float64)


def part_rows(events: pl.DataFrame, parts: Collection[str]) -> pl.DataFrame:
    """The rows of some parts; in a table without parts all rows are training."""
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
    """Encode a dataset for training on the rows of `parts`; `tasks` None = all tasks of these rows.

    Raises ValueError, one sentence, if a task has no row or nothing can be learned from the rows.
    """
    if not dataset.entities:
        raise ValueError(f"dataset '{dataset.name}' has no entities: there is nothing to rank")
    events = _select_rows(dataset, tasks, parts)
    rankings = rankable(labelled_rankings(events), DEFAULT_RULES)
    _refuse_unlearnable(dataset.name, events, rankings)
    ids = [str(entity["entity_id"]) for entity in dataset.entities]
    rows = {entity_id: row for row, entity_id in enumerate(ids)}
    encoder, arrays = EntityEncoder.fit(dataset.entities, dataset.columns, config.network, config.seed, say)
    task_names = sorted({ranking.context.task for ranking in rankings})
    users, countries = _distinct(events, "user_id"), _distinct(events, "country")
    tables = _outcomes(events, rows, config, say)
    return TrainingData(
        config, dataset, tuple(parts), task_names, ids, rows, _names(dataset), encoder, arrays,
        tables, users, countries, _tastes(events, rows, countries, tables), timelines(events), rankings,
        DEFAULT_RULES, say,
    )  # fmt: skip


def _select_rows(dataset: Dataset, tasks: Sequence[str] | None, parts: Sequence[str]) -> pl.DataFrame:
    events = part_rows(dataset.events, parts)
    present = sorted(events["task"].unique().to_list())
    missing = [task for task in tasks or () if task not in present]
    if missing or not present:
        raise ValueError(
            f"dataset '{dataset.name}' has no rows for parts {list(parts)} and tasks {missing or 'all'};"
            f" there are rows for {', '.join(present) or 'none'}"
        )
    return events if tasks is None else events.filter(pl.col("task").is_in(list(tasks)))


def _refuse_unlearnable(name: str, events: pl.DataFrame, rankings: Sequence[LabelledRanking]) -> None:
    """Raise ValueError if no ranking has a positive label."""
    if any((ranking.labels > 0).any() for ranking in rankings):
        return
    if (events["label"] > 0).any():
        raise ValueError(f"dataset '{name}': no positive row can be ranked: more_like_this needs a source_entity_id")
    raise ValueError(f"dataset '{name}': there is no positive label among the {events.height} rows under training")


def rankable(rankings: Sequence[LabelledRanking], rules: Rules) -> list[LabelledRanking]:
    """The rankings whose context can be filled: more-like-this without a source cannot be ranked."""
    return [ranking for ranking in rankings if can_fill(ranking.context, rules)]


def _names(dataset: Dataset) -> dict[str, str]:
    return {str(entity["entity_id"]): str(entity["display_name"]) for entity in dataset.entities}


def _distinct(events: pl.DataFrame, column: str) -> list[str]:
    return sorted(events[column].drop_nulls().unique().to_list())


def _outcomes(events: pl.DataFrame, rows: Mapping[str, int], config: Config, say: Say) -> list[Engagement]:
    """Outcome tables from rows with a user: likes, and negatives that were shown alone, such as low ratings.

    Both tell which entities go together. A row skipped among others depends more on the page, and is left out, and so
    are derived rows.
    """
    alone = pl.len().over("ranking_id", "task") == 1
    shown = observed(events).filter(
        (pl.col("task") != "more_like_this") & pl.col("user_id").is_not_null() & ((pl.col("label") > 0) | alone)
    )
    network = config.network
    return engagement.fit_folds(
        shown["user_id"].to_list(), np.array([rows[entity] for entity in shown["entity_id"]], np.int64), len(rows),
        network.engagement_width, network.engagement_ridge, config.training.folds, config.seed, say,
        np.where(shown["label"].to_numpy() > 0, 1.0, network.engagement_passed),
    )  # fmt: skip


def _tastes(
    events: pl.DataFrame, rows: Mapping[str, int], countries: Sequence[str], tables: Sequence[Engagement]
) -> np.ndarray:
    """The taste of each country in the space of each table, without the users that the table leaves out."""
    indices = {country: place for place, country in enumerate(countries)}
    known = pl.col("user_id").is_not_null() & pl.col("country").is_not_null()
    liked = observed(events).filter((pl.col("label") > 0) & known)
    entities = np.array([rows[entity] for entity in liked["entity_id"]], np.int64)
    country_index = np.array([indices[country] for country in liked["country"]], np.int64)
    folds = engagement.folds_of(liked["user_id"].to_list(), len(tables) - 1)
    kept = [folds != left_out for left_out in range(len(tables))]
    tastes = [
        engagement.tastes(t, entities[k], country_index[k], len(countries)) for t, k in zip(tables, kept, strict=True)
    ]
    return np.stack(tastes)
