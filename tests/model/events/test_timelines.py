"""Labelled rankings keep row titles apart, and training leaves out what lies below the last positive of a ranking."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from model.context.context import HOMEPAGE, ROW_TITLE, SEARCH
from model.datasets.dataset import Dataset
from model.events.table import conform
from model.events.timelines import LabelledRanking, labelled_rankings
from model.learning.training_data import prepare


def table(*rows: dict[str, Any]) -> pl.DataFrame:
    return conform(pl.DataFrame(rows, infer_schema_length=None))


def shown(task: str, labels: list[float], **more: Any) -> list[dict[str, Any]]:
    """One ranking of entities a, b, c, … at positions 1, 2, 3, …"""
    fields = {"ranking_id": "r", "task": task, "user_id": "u", "query": "toy", "timestamp": 1} | more
    return [
        {"position": place, **fields, "entity_id": "abcdefgh"[place - 1], "label": label}
        for place, label in enumerate(labels, start=1)
    ]


def plain(rankings: list[LabelledRanking]) -> list[tuple[Any, ...]]:
    return [(r.context, r.entity_ids, r.labels.tolist(), r.times.tolist(), r.slate, r.slices) for r in rankings]


# ── row titles ──────────────────────────────────────────────────────────────────────────────────────────────


def test_rows_of_one_user_are_grouped_by_title() -> None:
    titles = ("Drama", None, "Horror", "Drama", None)
    rows = [
        {
            "ranking_id": str(n),
            "task": HOMEPAGE,
            "user_id": "u",
            "entity_id": "abcde"[n],
            "label": 1.0,
            ROW_TITLE: title,
        }
        for n, title in enumerate(titles)
    ]
    found = {r.context.row_title: r.entity_ids for r in labelled_rankings(table(*rows))}
    assert found == {"Drama": ("a", "d"), None: ("b", "e"), "Horror": ("c",)}


def test_a_dataset_without_titles_gives_the_same_with_an_empty_column(world: Dataset) -> None:
    without = world.events.drop(ROW_TITLE, strict=False)
    empty = without.with_columns(pl.lit(None, pl.String).alias(ROW_TITLE))
    for masked in (False, True):
        assert plain(labelled_rankings(empty, masked=masked)) == plain(labelled_rankings(without, masked=masked))
    assert {ranking.context.row_title for ranking in labelled_rankings(without)} == {None}


def test_titles_that_were_read_as_numbers_are_text() -> None:
    rows = shown(HOMEPAGE, [1.0], **{ROW_TITLE: 1990.0})
    assert isinstance(labelled_rankings(table(*rows))[0].context.row_title, str)


# ── below the last positive ─────────────────────────────────────────────────────────────────────────────────

KEPT: dict[str, tuple[list[dict[str, Any]], str]] = {
    "below the last positive": (shown(SEARCH, [0, 1, 0, 1, 0, 0]), "abcd"),
    "a time without a user": (shown(SEARCH, [1, 0], user_id=None), "a"),
    "a user without a time": (shown(SEARCH, [1, 0], timestamp=None), "a"),
    "no positive": (shown(SEARCH, [0, 0]), "ab"),
    "a judged slate": (shown(SEARCH, [0, 1, 0], user_id=None, timestamp=None), "abc"),
    "no positions": (shown(SEARCH, [0, 1, 0], position=None), "abc"),
    "a row without a position": ([*shown(SEARCH, [1, 0]), *shown(SEARCH, [0], position=None)], "aa"),
    "the positive without a position": (
        [*shown(SEARCH, [0, 0]), {**shown(SEARCH, [1.0])[0], "position": None, "entity_id": "z"}], "abz",
    ),
    "rows in another order": (shown(SEARCH, [0, 1, 0, 0])[::-1], "ba"),
    "a homepage": (shown(HOMEPAGE, [1, 0, 0]), "a"),
}  # fmt: skip


@pytest.mark.parametrize("case", KEPT)
def test_rows_below_the_last_positive_are_masked_where_somebody_was_shown_them(case: str) -> None:
    rows, kept = KEPT[case]
    (ranking,) = labelled_rankings(table(*rows), masked=True)
    assert "".join(ranking.entity_ids) == kept
    (whole,) = labelled_rankings(table(*rows))
    assert len(whole.entity_ids) == len(rows)
    assert ranking.slate == whole.slate


def test_each_ranking_has_its_own_last_positive() -> None:
    rows = [*shown(HOMEPAGE, [1, 0, 0]), *shown(HOMEPAGE, [0, 0, 1], ranking_id="s")]
    (ranking,) = labelled_rankings(table(*rows), masked=True)
    assert ranking.entity_ids == ("a", "a", "b", "c")


def test_training_masks_and_measuring_does_not(world: Dataset, small_config: Any) -> None:
    events = world.events.filter(pl.col("part") == "train")
    whole, masked = plain(labelled_rankings(events)), plain(labelled_rankings(events, masked=True))
    assert whole != masked
    assert plain(prepare(world, small_config).rankings) == masked
