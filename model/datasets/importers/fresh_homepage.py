"""A homepage for catalogues without one: new entities more often than old ones, and few of each kind.

It says what a shop could show to somebody of whom nothing is known. It is nobody's behaviour.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

import polars as pl

from model.catalogue.fields import text_values
from model.context.context import HOMEPAGE
from model.datasets.dataset import CATEGORIES, IGNORE, TEXT
from model.datasets.importers.times import text_time
from model.events.derived import PREFIX
from model.events.parts import fraction
from model.events.table import conform

Entity = Mapping[str, object]
SIZE = 200
EACH_KIND = 10
NEWEST = 16.0  # how many times as likely the newest entity is as the oldest
_DATE = re.compile(r"year|date|released?|published|created|added|(?:^|_)(?:at|time)$|timestamp", re.IGNORECASE)


def fresh_homepage(entities: Sequence[Entity], columns: Mapping[str, str]) -> pl.DataFrame:
    """At most `SIZE` positives without user, time and part, each its own ranking: a draw by hash."""
    ages, kinds, kept = recencies(entities, columns), kinds_of(entities, columns), list[str]()
    ids, used = [str(entity["entity_id"]) for entity in entities], Counter[str]()
    draws = [math.log(max(fraction("homepage", key), 1e-12)) / NEWEST**age for key, age in zip(ids, ages, strict=True)]
    for row in sorted(range(len(ids)), key=lambda row: (-draws[row], ids[row])):
        used[kinds[row]] += 1
        if len(kept) < SIZE and used[kinds[row]] <= EACH_KIND:
            kept.append(ids[row])
    rows = {"ranking_id": [f"{PREFIX}homepage-{key}" for key in kept], "entity_id": kept}
    frame = pl.DataFrame(rows, schema={"ranking_id": pl.String, "entity_id": pl.String})
    return conform(frame.with_columns(task=pl.lit(HOMEPAGE), label=pl.lit(1.0)))


def recencies(entities: Sequence[Entity], columns: Mapping[str, str]) -> list[float]:
    """How new each entity is by the first column that names a date: 1 = the newest, 0 = the oldest or unknown. [N]"""
    for column, kind in columns.items():
        if kind in (CATEGORIES, IGNORE) or not _DATE.search(column):
            continue
        times = [_time(entity.get(column)) for entity in entities]
        distinct = sorted({time for time in times if time is not None})
        if len(distinct) > 1:
            place = {time: index / (len(distinct) - 1) for index, time in enumerate(distinct)}
            return [0.0 if time is None else place[time] for time in times]
    return [0.0] * len(entities)


def _time(value: object) -> float | None:
    """A number that is higher for later times: years and other numbers as they are, texts as ms."""
    if isinstance(value, (int, float)):
        return float(value)
    return text_time(value) if isinstance(value, str) else None


def kinds_of(entities: Sequence[Entity], columns: Mapping[str, str]) -> list[str]:
    """The kind of each entity: its first value in the first column whose values repeat, lists before texts. [N]

    Without such a column each is its own kind.
    """
    for wanted in (CATEGORIES, TEXT):
        for column in (name for name, kind in columns.items() if kind == wanted):
            values = [next(iter(text_values(entity.get(column))), "") for entity in entities]
            if 1 < len(set(values)) <= len(entities) / 2:
                return values
    return [str(entity["entity_id"]) for entity in entities]
