"""Rows of an events table in few words, and the figures of a report by name."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from model.context.context import HOMEPAGE
from model.events.table import conform

Row = dict[str, object]


def frame(*rows: Row) -> pl.DataFrame:
    """An events table of some rows."""
    return conform(pl.DataFrame(list(rows), infer_schema_length=None))


def row(entity: int, label: float = 1.0, task: str = HOMEPAGE, ranking: str | None = None, **more: object) -> Row:
    """A row of an entity by number, a ranking of its own unless named."""
    return {"ranking_id": ranking or f"r{entity}", "task": task, "entity_id": f"e{entity}", "label": label, **more}


def value(report: Mapping[str, object], *names: str) -> float:
    """A figure of a report, by the names that lead to it."""
    entry: object = report
    for name in (*names, "value"):
        assert isinstance(entry, Mapping)
        entry = entry[name]
    assert isinstance(entry, float)
    return entry
