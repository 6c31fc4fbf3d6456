"""A dataset prepared for one training run: encoded entities, outcome tables, labelled rankings, encoders.

Does not train.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from model.catalogue.encoding import EntityArrays, EntityEncoder
from model.catalogue.records import Records, assemble
from model.config import Config
from model.context.imputation import DEFAULT_RULES, Rules, can_fill
from model.datasets.dataset import Dataset
from model.events.derived import observed
from model.events.engagement import Engagement
from model.events.timelines import LabelledRanking, Timeline, labelled_rankings, timelines
from model.features.match import MatchFeatures
from model.learning.neighbours import Neighbours
from model.learning.outcomes import outcomes_of, with_sizes
from model.learning.row_titles import RowTitles
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
    titles: RowTitles
    say: Say

    def contexts(self) -> ContextEncoder:
        """A new context encoder; its match features hold scratch tables, so that each serves one thread only."""
        return ContextEncoder(self._matcher(), self.tasks, self.users, self.countries, self.tastes)

    def _matcher(self) -> MatchFeatures:
        return MatchFeatures(self.encoder, bool(self.countries))

    def records(self, fold: int, vector: np.ndarray | None = None) -> Records:
        """Records with the outcomes of one table; without vectors where the tower is still under training."""
        vectors = np.zeros((len(self.ids), 0), np.float32) if vector is None else vector
        return assemble(self.arrays, self.tables[fold], vectors, np.arange(len(self.ids)))

    def sampler(self, rankings: Sequence[LabelledRanking]) -> Sampler:
        """A sampler of examples from these rankings."""
        vocabulary = self.encoder.vocabulary
        postings = Postings.of(self.arrays.tokens, len(vocabulary.weights), np.zeros(len(self.ids), np.float32))
        index = LexicalIndex(postings, vocabulary)
        encode = self._matcher().encode_query
        return Sampler(
            rankings, self.histories, self.rows, self.names, self.rules, self.config.training,
            lambda query: index.search(encode(query), ALIKE),
            self.titles,
            Neighbours(self.arrays.text, self.tables[-1].vectors, rankings, self.rows),
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
    rankings = rankable(labelled_rankings(events, masked=True), DEFAULT_RULES)
    _refuse_unlearnable(dataset.name, events, rankings)
    ids = [str(entity["entity_id"]) for entity in dataset.entities]
    rows = {entity_id: row for row, entity_id in enumerate(ids)}
    encoder, arrays = EntityEncoder.fit(dataset.entities, dataset.columns, config.network, config.seed, say)
    task_names = sorted({ranking.context.task for ranking in rankings})
    users, countries = _distinct(events, "user_id"), _distinct(events, "country")
    say("rank of the co-engagement space")
    config = with_sizes(config, events, _held_out(dataset, task_names, parts), rows)
    outcomes = outcomes_of(events, rows, countries, config, say)
    return TrainingData(
        config, dataset, tuple(parts), task_names, ids, rows, _names(dataset), encoder, arrays,
        outcomes.tables, users, countries, outcomes.tastes, timelines(events), rankings,
        DEFAULT_RULES, RowTitles(dataset.entities, dataset.columns, encoder.years), say,
    )  # fmt: skip


def _held_out(dataset: Dataset, tasks: Sequence[str], parts: Sequence[str]) -> pl.DataFrame:
    """The validation rows, unless they are under training."""
    events = dataset.events
    held_out = events.clear() if "validation" in parts else part_rows(events, ("validation",))
    return held_out.filter(pl.col("task").is_in(tasks))


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
