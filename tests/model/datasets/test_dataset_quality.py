"""The description and the validation of a dataset agree with arithmetic that a reader can redo."""

from __future__ import annotations

import math
from pathlib import Path

import polars as pl
import pytest

from model.datasets.dataset import Dataset, write_dataset
from model.datasets.quality import (
    describe,
    jensen_shannon_bits,
    missing_attributes,
    missing_context,
    overlap,
    repeated_contexts,
    task_counts,
    validate,
)
from model.events.table import conform

ENTITIES: list[dict[str, object]] = [
    {"entity_id": name, "display_name": name.upper(), **({"about": "text"} if name in "ab" else {})} for name in "abcd"
]


def frame(rows: list[tuple[str, str | None, str | None, str, float, str | None]]) -> pl.DataFrame:
    """Rows of task, user, query, entity, label, part; one ranking each."""
    names = ("task", "user_id", "query", "entity_id", "label", "part")
    table = pl.DataFrame(rows, schema=names, orient="row", infer_schema_length=None)
    return conform(table.with_columns(pl.format("r{}", pl.int_range(pl.len())).alias("ranking_id")))


EVENTS = frame(
    [
        ("search", None, "x", "a", 1.0, "train"),
        ("search", "u", "x", "a", 1.0, "test"),
        ("search", None, "y", "b", 1.0, "test"),
        ("homepage", "u", None, "b", 1.0, "train"),
        ("homepage", "v", None, "c", 0.0, None),
    ]
)


def test_rows_are_counted_per_task_and_part() -> None:
    counts = task_counts(EVENTS)
    assert counts["search"]["all"] == {
        "rows": 3,
        "rankings": 3,
        "users": 1,
        "entities": 2,
        "positive_share": 1,
    }
    assert counts["search"]["test"]["rows"] == 2
    assert counts["homepage"]["all"]["positive_share"] == 0.5
    assert set(counts["homepage"]) == {"all", "train", "none"}


def test_divergence_agrees_with_a_calculation_by_hand() -> None:
    # P = (1, 0), Q = (1/2, 1/2), M = (3/4, 1/4): ½·log2(4/3) + ½·(½·log2(2/3) + ½·log2 2)
    expected = 0.5 * math.log2(4 / 3) + 0.5 * (0.5 * math.log2(2 / 3) + 0.5)
    assert jensen_shannon_bits({"a": 3}, {"a": 5, "b": 5}) == pytest.approx(expected)
    assert jensen_shannon_bits({}, {"a": 1}) is None


def test_overlap_of_nothing_is_zero() -> None:
    assert overlap({}, {"a": 1}) == {"jaccard": 0.0, "shared_of_first": 0.0, "shared_of_second": 0.0}


def test_missing_fields_are_reported_in_percent() -> None:
    missing = missing_context(EVENTS)
    assert missing["search"]["user_id"] == 66.67
    assert (missing["search"]["query"], missing["homepage"]["query"]) == (0.0, 100.0)
    assert missing_attributes(ENTITIES, {"about": "text", "secret": "ignore"}) == {"about": 50.0}


def test_a_test_pair_that_training_has_is_counted_whoever_asked() -> None:
    assert repeated_contexts(EVENTS) == {"search": 50.0}


def test_a_folder_can_be_described(tmp_path: Path) -> None:
    write_dataset(tmp_path, "toy", ENTITIES, EVENTS, {})
    told = describe(Dataset.load(tmp_path))
    assert (told["entities"], told["users"], told["events"]) == (4, 2, 5)
    assert told["engaged_overlap"] == {
        "homepage | search": {"jaccard": 0.5, "shared_of_first": 1.0, "shared_of_second": 0.5}
    }
    assert told["entities_never_engaged"] == 2


def test_validate_reports_instead_of_raising(tmp_path: Path) -> None:
    report = validate(tmp_path / "absent")
    assert not report.usable
    assert "expected a dataset folder" in report.errors[0]
    write_dataset(tmp_path, "toy", ENTITIES, EVENTS, {})
    report = validate(tmp_path)
    assert report.usable
    assert report.warnings == ["1 rows have no part", "no row has part validation"]


def test_validate_sees_cut_slates_missing_sources_and_zeros(tmp_path: Path) -> None:
    cut = EVENTS.with_columns(pl.lit("r").alias("ranking_id"), pl.lit("more_like_this").alias("task"))
    write_dataset(tmp_path, "toy", ENTITIES, cut.with_columns(pl.lit(0.0).alias("label")), {})
    report = validate(tmp_path)
    assert report.errors == ["events, column label: expected a positive engagement, got zeros only"]
    text = " ".join(report.warnings)
    assert "5 rows of task more_like_this have no source_entity_id" in text
    assert "1 rankings have rows in more than one part" in text
    assert "2 rows repeat an entity" in text
