"""The protocol of API.md §3, with a subject whose scores are known."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from math import log2
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from model.artefact.model import Artefact
from model.context.context import HOMEPAGE, MORE_LIKE_THIS, SEARCH, Context
from model.datasets.dataset import Dataset
from model.evaluation.protocols import evaluate
from model.evaluation.reports import evaluate_artefact
from model.events.table import conform
from model.events.timelines import timelines, units
from model.learning.calibration import Calibration

IDS = [f"e{number}" for number in range(40)]
Row = dict[str, object]


class Known:
    """Scores of the catalogue, the same in every context unless the query names others. Notes what it is asked."""

    def __init__(self, scores: np.ndarray | None = None, by_query: Mapping[str, np.ndarray] | None = None) -> None:
        self.rows = {entity_id: row for row, entity_id in enumerate(IDS)}
        self.scores = -np.arange(float(len(IDS))) if scores is None else scores
        self.by_query = by_query or {}
        self.asked: list[tuple[Context, list[str] | None]] = []

    def score(self, context: Context, rows: np.ndarray | None) -> np.ndarray:
        self.asked.append((context, None if rows is None else [IDS[row] for row in rows]))
        scores = self.by_query.get(context.query or "", self.scores)
        return scores if rows is None else scores[rows]


def frame(*rows: Row) -> pl.DataFrame:
    return conform(pl.DataFrame(list(rows), infer_schema_length=None))


def row(entity: int, label: float = 1.0, task: str = HOMEPAGE, ranking: str | None = None, **more: object) -> Row:
    return {"ranking_id": ranking or f"r{entity}", "task": task, "entity_id": f"e{entity}", "label": label, **more}


def report_of(
    test: pl.DataFrame, past: pl.DataFrame | None = None, subject: Known | None = None
) -> dict[str, dict[str, object]]:
    popularity = np.ones(len(IDS))
    past = test.clear() if past is None else past
    return evaluate(subject or Known(), units(test), timelines(past), popularity, Calibration({}))


def value(report: Mapping[str, object], *names: str) -> float:
    entry: object = report
    for name in (*names, "value"):
        assert isinstance(entry, Mapping)
        entry = entry[name]
    assert isinstance(entry, float)
    return entry


# ---- slates -------------------------------------------------------------------------------------------------


def test_a_slate_is_ranked_as_it_stands() -> None:
    subject = Known()
    rows = [row(n, float(n == 5), SEARCH, "slate", query="heat", position=n) for n in (3, 5, 9)]
    report = report_of(frame(*rows), subject=subject)["search"]
    assert [asked for _, asked in subject.asked] == [["e3", "e5", "e9"]]
    assert value(report, "mrr") == 0.5
    assert value(report, "ndcg@10") == pytest.approx(1 / log2(3))
    assert value(report, "auc") == 0.5
    assert report["rankings"] == 1
    assert "catalogue" not in report


def test_a_ranking_with_one_kind_of_label_is_no_slate() -> None:
    slate = [row(n, float(n == 5), SEARCH, "slate", query="heat") for n in (3, 5)]
    loose = [row(n, 1.0, SEARCH, "loose", query="toy") for n in (0, 2)]
    report = report_of(frame(*slate, *loose))["search"]
    assert report["rankings"] == 1
    catalogue = report["catalogue"]
    assert isinstance(catalogue, dict)
    assert catalogue["rankings"] == 1
    assert value(catalogue, "ndcg@10") == pytest.approx((1 + 1 / 2) / (1 + 1 / log2(3)))
    assert value(catalogue, "recall@30") == 1


def test_a_task_without_slates_has_the_catalogue_on_top() -> None:
    report = report_of(frame(row(3, 1.0, SEARCH, query="heat")))["search"]
    assert value(report, "ndcg@10") == pytest.approx(1 / log2(5))
    assert "catalogue" not in report
    assert "mrr" not in report


def test_homepage_is_always_the_catalogue() -> None:
    subject = Known()
    rows = [row(n, float(n == 5), HOMEPAGE, "slate", user_id="u1") for n in (3, 5, 9)]
    report = report_of(frame(*rows), subject=subject)["homepage"]
    assert [asked for _, asked in subject.asked] == [None]
    assert value(report, "ndcg@10") == pytest.approx(1 / log2(7))  # rank 6 of all, also the passed-over ones
    assert "mrr" not in report


def test_a_slate_is_one_ranking_id_whatever_its_rows_say_of_the_country() -> None:
    rows = [row(n, float(n == 5), SEARCH, "slate", query="heat", country="US" if n == 5 else None) for n in (3, 5, 9)]
    report = report_of(frame(*rows))["search"]
    assert report["rankings"] == 1
    assert value(report, "mrr") == 0.5


# ---- the whole catalogue ------------------------------------------------------------------------------------


def test_catalogue_positives_are_grouped_by_raw_context() -> None:
    """By task, user, source and query, as the contract says; the country of a row does not divide a user."""
    rows = [
        row(0, user_id="u1", country="US"),
        row(2, user_id="u1", country="DE"),
        row(1, user_id="u2", country="US"),
    ]
    report = report_of(frame(*rows))["homepage"]
    assert report["rankings"] == 2


def test_each_source_and_each_query_is_a_ranking_of_its_own() -> None:
    rows = [row(n, 1.0, MORE_LIKE_THIS, source_entity_id=f"e{30 + n % 2}") for n in range(4)]
    rows += [row(n, 1.0, SEARCH, query="heat" if n < 2 else "toy") for n in range(4)]
    report = report_of(frame(*rows))
    assert report["more_like_this"]["rankings"] == 2
    assert report["search"]["rankings"] == 2


def test_everything_of_the_history_is_left_out_whatever_its_label() -> None:
    past = frame(row(0, 1.0, user_id="u1", timestamp=9), row(1, 0.0, SEARCH, user_id="u1", query="x"))
    test = frame(row(2, user_id="u1", timestamp=5), row(4, user_id="u2"))
    subject = Known()
    report = report_of(test, past, subject)["homepage"]
    # u1: e2 is first once e0 and e1 are gone; u2 has no history, so e4 has rank 5
    assert value(report, "ndcg@10") == pytest.approx((1 + 1 / log2(6)) / 2)
    histories = {context.user_id: {event.entity_id for event in context.history} for context, _ in subject.asked}
    assert histories == {"u1": {"e0", "e1"}, "u2": set()}


def test_a_positive_that_the_history_holds_is_not_to_be_found_again() -> None:
    past = frame(row(3, 0.0, user_id="u1"))
    report = report_of(frame(row(3, user_id="u1"), row(5, user_id="u1")), past)["homepage"]
    assert value(report, "ndcg@10") == pytest.approx(1 / log2(6))
    nothing = report_of(frame(row(3, user_id="u1"), row(5, user_id="u2")), past)["homepage"]
    assert nothing["rankings"] == 1


def test_slates_keep_entities_of_the_history() -> None:
    past = frame(row(5, 1.0, user_id="u1"))
    rows = [row(n, float(n == 5), SEARCH, "slate", query="heat", user_id="u1") for n in (3, 5)]
    assert value(report_of(frame(*rows), past)["search"], "mrr") == 0.5


def test_ties_count_against_the_model() -> None:
    constant = Known(np.zeros(len(IDS)))
    report = report_of(frame(row(0, user_id="u1")), subject=constant)["homepage"]
    assert value(report, "ndcg@10") == 0
    assert value(report, "recall@30") == 0
    slate = [row(n, float(n == 0), SEARCH, "slate", query="heat") for n in (0, 1)]
    assert value(report_of(frame(*slate), subject=constant)["search"], "mrr") == 0.5


def test_scores_that_are_no_numbers_come_last() -> None:
    scores = -np.arange(float(len(IDS)))
    scores[0] = np.nan
    report = report_of(frame(row(0, user_id="u1"), row(1, user_id="u2")), subject=Known(scores))["homepage"]
    assert value(report, "ndcg@10") == pytest.approx((0 + 1) / 2)


def test_an_entity_named_twice_has_its_highest_label() -> None:
    rows = [row(0, 1.0, user_id="u1", ranking="a"), row(0, 0.0, user_id="u1", ranking="b")]
    assert value(report_of(frame(*rows))["homepage"], "ndcg@10") == 1


def test_coverage_counts_what_is_among_the_first_ten() -> None:
    by_query = {"down": -np.arange(40.0), "up": np.arange(40.0)}
    rows = [row(1, 1.0, SEARCH, query="down"), row(39, 1.0, SEARCH, query="up")]
    report = report_of(frame(*rows), subject=Known(by_query=by_query))["search"]
    assert value(report, "coverage") == 20 / 40
    assert value(report, "novelty") == pytest.approx(log2(40))


# ---- auc, ece, intervals, slices ----------------------------------------------------------------------------


def test_auc_of_more_like_this_is_pooled_over_all_labelled_rows() -> None:
    rows = []
    for source, (liked, passed) in enumerate([(10, 20), (30, 2)]):
        rows += [row(n, label, MORE_LIKE_THIS, f"s{source}", source_entity_id=f"e{source}")
                 for n, label in ((liked, 1.0), (passed, 0.0))]  # fmt: skip
    report = report_of(frame(*rows))["more_like_this"]
    assert value(report, "auc") == 0.25  # e10 comes before e20 and after e2, e30 after both; by slate it would be ½


def test_auc_of_other_tasks_is_per_slate() -> None:
    rows = []
    for slate, (liked, passed) in enumerate([(10, 20), (30, 38)]):
        rows += [row(n, label, SEARCH, f"s{slate}", query=f"q{slate}") for n, label in ((liked, 1.0), (passed, 0.0))]
    assert value(report_of(frame(*rows))["search"], "auc") == 1  # pooled, 20 would beat 30


def test_ece_is_null_without_both_labels() -> None:
    assert report_of(frame(row(0, user_id="u1")))["homepage"]["ece"] is None
    rows = [row(0, 1.0, user_id="u1"), row(1, 0.0, user_id="u1")]
    assert value(report_of(frame(*rows))["homepage"], "ece") == pytest.approx(0.5, abs=0.3)


def test_intervals_hold_their_value() -> None:
    rows = [row(n, 1.0, user_id=f"u{n}") for n in range(20)]
    report = report_of(frame(*rows))["homepage"]
    for name in ("ndcg@10", "recall@30"):
        entry = report[name]
        assert isinstance(entry, dict)
        assert 0 <= entry["low"] <= entry["value"] <= entry["high"] <= 1
    assert report["ndcg@10"]["low"] < report["ndcg@10"]["high"]


def test_slices_are_reported_apart() -> None:
    rows = []
    for slate, name in enumerate(["unseen", None, "unseen"]):
        rows += [row(n, float(n == slate), SEARCH, f"s{slate}", query=f"q{slate}", slice=name) for n in (0, 1, 2)]
    report = report_of(frame(*rows))["search"]
    assert report["rankings"] == 3
    slices = report["slices"]
    assert isinstance(slices, dict)
    assert set(slices) == {"unseen"}
    assert slices["unseen"]["rankings"] == 2
    assert value(slices["unseen"], "mrr") == pytest.approx((1 + 1 / 3) / 2)


def test_without_popularity_there_is_no_novelty_and_no_error() -> None:
    """A dataset without parts has no past: nothing was ever engaged with."""
    test = frame(row(0, user_id="u1"))
    report = evaluate(Known(), units(test), {}, np.zeros(len(IDS)), Calibration({}))["homepage"]
    assert report.get("novelty") is None
    assert value(report, "ndcg@10") == 1


# ---- which rows ---------------------------------------------------------------------------------------------


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
    assert set(report["tasks"]["homepage"]) == catalogue | {"ece"}
    for task in (SEARCH, MORE_LIKE_THIS):
        assert set(report["tasks"][task]) - {"catalogue", "slices"} == slate
    for task in report["tasks"].values():
        for name, entry in task.items():
            if name not in ("rankings", "catalogue", "slices"):
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
