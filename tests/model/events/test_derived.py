"""Derived rows teach a task and are nothing that a user did; a row that names its own source teaches nothing."""

from __future__ import annotations

import polars as pl
import pytest

from model.artefact.build import contents_of
from model.config import Config
from model.datasets.dataset import Dataset
from model.events.derived import derived_counts, observed
from model.events.seen import SeenEntities
from model.events.table import conform
from model.events.timelines import labelled_rankings, timelines
from model.learning.ranker_training import train
from model.learning.training_data import prepare

ROWS = [
    {"ranking_id": "r1", "task": "homepage", "user_id": "ann", "entity_id": "a", "timestamp": 1},
    {"ranking_id": "derived-liked-1", "task": "more_like_this", "user_id": "ann", "entity_id": "b", "timestamp": 2},
    {"ranking_id": "derived-search-1", "task": "search", "query": "b", "entity_id": "b"},
    {"ranking_id": "derived-search-1", "task": "search", "query": "b", "entity_id": "c", "label": 0.0},
    {"ranking_id": "r2-derived-", "task": "search", "user_id": "ann", "query": "c", "entity_id": "c", "timestamp": 3},
]


def table(rows: list[dict[str, object]]) -> pl.DataFrame:
    return conform(pl.DataFrame([{"label": 1.0, **row} for row in rows], infer_schema_length=None))


def test_only_the_start_of_the_ranking_id_marks_a_derived_row() -> None:
    assert observed(table(ROWS))["ranking_id"].to_list() == ["r1", "r2-derived-"]
    assert derived_counts(table(ROWS)) == {"more_like_this": 1, "search": 2}


def test_derived_rows_are_in_no_timeline_and_are_not_seen() -> None:
    assert [event.entity_id for event in timelines(table(ROWS))["ann"].events] == ["a", "c"]
    assert SeenEntities.of(table(ROWS), ["a", "b", "c"]).rows_of("ann").tolist() == [2, 0]


def test_a_model_of_derived_rows_has_neither_popularity_nor_histories_and_counts_them(
    world: Dataset, small_config: Config
) -> None:
    marked = world.events.with_columns(ranking_id="derived-" + pl.col("ranking_id"))
    data = prepare(Dataset(world.path, "marked", world.columns, world.entities, marked), small_config)
    assert data.popularity().sum() == 0
    assert all(not table.popularity.any() and not table.vectors.any() for table in data.tables)
    assert not data.tastes.any()
    contents = contents_of(data, train(data, 1, world.path.with_name("no checkpoint")))
    assert contents.histories == {}
    assert len(contents.seen) == 0
    counts = {task: marked.filter(task=task, part="train").height for task in data.tasks}
    assert contents.manifest.dataset["derived"] == counts


@pytest.mark.parametrize("label", [1.0, 0.0])
def test_a_source_is_never_a_candidate_of_itself(label: float) -> None:
    source = {"ranking_id": "r", "task": "more_like_this", "source_entity_id": "a"}
    rows = table([{**source, "entity_id": "a", "label": label}, {**source, "entity_id": "b"}])
    (ranking,) = labelled_rankings(rows)
    assert (ranking.entity_ids, ranking.slate) == (("b",), False)
    assert labelled_rankings(rows[:1]) == []
