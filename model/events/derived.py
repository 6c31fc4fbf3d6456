"""Derived rows: labels that were made from the catalogue or from likes, for a task without rows of its own.

They are marked by the start of their `ranking_id`. They teach and test a task, but nobody did what they say: they are
neither history nor popularity. Derives nothing: `model/datasets/importers/derivation.py` does.
"""

from __future__ import annotations

import polars as pl

PREFIX = "derived-"


def is_derived() -> pl.Expr:
    """Which rows of an event table are derived."""
    return pl.col("ranking_id").str.starts_with(PREFIX)


def observed(events: pl.DataFrame) -> pl.DataFrame:
    """The rows of an event table that are not derived, in their order."""
    return events.filter(~is_derived())


def derived_counts(events: pl.DataFrame) -> dict[str, int]:
    """Task → number of its derived rows, in order of name; tasks without any are left out."""
    rows = events.filter(is_derived()).group_by("task").len().sort("task")
    return dict(rows.iter_rows())
