"""The protocol of API.md §3, with a subject whose scores are known."""

from __future__ import annotations

from collections.abc import Mapping
from math import log2

import numpy as np
import polars as pl
import pytest
from evaluation_rows import frame, row, value

from model.context.context import HOMEPAGE, MORE_LIKE_THIS, SEARCH, Context
from model.evaluation.protocols import evaluate
from model.events.timelines import labelled_rankings, timelines
from model.learning.calibration import Calibration

IDS = [f"e{number}" for number in range(40)]


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


def report_of(
    test: pl.DataFrame, past: pl.DataFrame | None = None, subject: Known | None = None
) -> dict[str, dict[str, object]]:
    popularity = np.ones(len(IDS))
    past = test.clear() if past is None else past
    return evaluate(subject or Known(), labelled_rankings(test), timelines(past), popularity, Calibration({}))


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
    report = evaluate(Known(), labelled_rankings(test), {}, np.zeros(len(IDS)), Calibration({}))["homepage"]
    assert report.get("novelty") is None
    assert value(report, "ndcg@10") == 1
