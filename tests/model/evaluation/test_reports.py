"""The report of `unirank evaluate`: its keys, and which rows are under test and which are history."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from evaluation_rows import frame, row, value

from model.artefact.model import Artefact
from model.context.context import HOMEPAGE, MORE_LIKE_THIS, SEARCH
from model.datasets.dataset import Dataset
from model.evaluation.reports import evaluate_artefact


def with_events(world: Dataset, events: pl.DataFrame) -> Dataset:
    return replace(world, events=events)


def rankings(report: dict[str, dict[str, dict[str, object]]]) -> dict[str, object]:
    return {task: entry["rankings"] for task, entry in report["tasks"].items()}


def test_the_report_has_exactly_the_keys_of_the_contract(artefact: Artefact, world: Dataset) -> None:
    report = json.loads(json.dumps(evaluate_artefact(artefact, world)))
    assert set(report) == {"model", "dataset", "tasks"}
    assert report["model"] == {"version": artefact.version}
    assert report["dataset"] == {"name": "simulated"}
    assert set(report["tasks"]) == {SEARCH, HOMEPAGE, MORE_LIKE_THIS}
    catalogue = {"ndcg@10", "recall@1", "recall@10", "recall@30", "coverage", "novelty", "rankings"}
    slate = {"ndcg@10", "mrr", "auc", "ece", "rankings"}
    assert set(report["tasks"]["homepage"]) == catalogue | {"ece", "served"}
    served = report["tasks"]["homepage"]["served"]
    assert set(served) == catalogue - {"coverage", "novelty"} | {"proposals"}
    assert served["proposals"] == 500
    assert served["recall@30"]["value"] <= report["tasks"]["homepage"]["recall@30"]["value"] + 1e-9
    for task in (SEARCH, MORE_LIKE_THIS):
        assert set(report["tasks"][task]) - {"catalogue", "slices", "served"} == slate
    for task in report["tasks"].values():
        for name, entry in task.items():
            if name not in ("rankings", "catalogue", "slices", "served"):
                assert set(entry) == {"value", "low", "high"}, name
                assert entry["low"] <= entry["high"]


def test_only_rows_of_the_test_part_are_under_test(artefact: Artefact, world: Dataset) -> None:
    """A row of another part may change histories; it never becomes a ranking."""
    test = world.events.filter(pl.col("part") == "test")
    alone = evaluate_artefact(artefact, with_events(world, test))
    both = evaluate_artefact(artefact, world)
    for task in (SEARCH, MORE_LIKE_THIS):  # homepage leaves out what the history holds
        assert rankings(alone)[task] == rankings(both)[task]
    assert both["tasks"]["search"]["rankings"] == test.filter(pl.col("task") == "search")["ranking_id"].n_unique()


def test_without_parts_every_row_is_under_test_and_nobody_has_a_history(artefact: Artefact, world: Dataset) -> None:
    plain = with_events(world, world.events.with_columns(part=pl.lit(None, pl.String)))
    report = evaluate_artefact(artefact, plain)
    liked = world.events.filter((pl.col("task") == "homepage") & (pl.col("label") > 0))
    assert report["tasks"]["homepage"]["rankings"] == liked["user_id"].n_unique()


def test_rows_without_a_part_among_others_that_have_one_are_not_under_test(artefact: Artefact, world: Dataset) -> None:
    part = pl.when(pl.col("part") == "train").then(None).otherwise(pl.col("part"))
    mixed = with_events(world, world.events.with_columns(part=part))
    assert evaluate_artefact(artefact, mixed) == evaluate_artefact(artefact, world)


def test_histories_come_from_the_history_dataset_when_there_is_one(artefact: Artefact, world: Dataset) -> None:
    nothing = with_events(world, world.events.clear())
    without = evaluate_artefact(artefact, world, nothing)
    likes = world.events.filter((pl.col("part") == "test") & (pl.col("task") == "homepage") & (pl.col("label") > 0))
    assert without["tasks"]["homepage"]["rankings"] == likes["user_id"].n_unique()
    train = with_events(world, world.events.filter(pl.col("part") != "test"))
    assert evaluate_artefact(artefact, world, train) == evaluate_artefact(artefact, world)


def test_rows_under_test_never_enter_a_history(artefact: Artefact, world: Dataset) -> None:
    """Also where the history is asked for from the very dataset that is under test."""
    assert rankings(evaluate_artefact(artefact, world, world)) == rankings(evaluate_artefact(artefact, world))


def test_tasks_that_the_model_does_not_know_are_left_out(artefact: Artefact, world: Dataset) -> None:
    more = world.events.with_columns(
        task=pl.when(pl.col("task") == "search").then(pl.lit("trailers")).otherwise(pl.col("task"))
    )
    assert set(evaluate_artefact(artefact, with_events(world, more))["tasks"]) == {HOMEPAGE, MORE_LIKE_THIS}
    none = world.events.with_columns(task=pl.lit("trailers"))
    with pytest.raises(ValueError, match="no test rows for the tasks"):
        evaluate_artefact(artefact, with_events(world, none))


def test_entities_that_training_never_saw_are_ranked_too(artefact: Artefact, world: Dataset, tmp_path: Path) -> None:
    new = {"entity_id": "new", "display_name": "Zyzzyva Quux", "about": "a brand new thing"}
    test = frame({**row(0, 1.0, SEARCH, query="zyzzyva quux"), "entity_id": "new"})
    dataset = replace(world, entities=[*world.entities, new], events=test)
    report = evaluate_artefact(artefact, dataset)["tasks"]["search"]
    assert value(report, "recall@30") == 1


def test_progress_counts_every_ranking(artefact: Artefact, world: Dataset) -> None:
    seen: list[tuple[int, int]] = []
    evaluate_artefact(artefact, world, report=lambda done, of, note: seen.append((done, of)))
    assert [done for done, _ in seen] == list(range(1, len(seen) + 1))
    assert seen[-1][0] == seen[-1][1]
