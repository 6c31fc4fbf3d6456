"""Events as timelines (one user's events in order) and as labelled rankings (one context, its entities, their labels).

Reads the event table of a dataset. Draws no random numbers and encodes nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from model.context.context import ROW_TITLE, Context, HistoryEvent
from model.events.derived import observed

Ints = NDArray[np.int64]
NO_TIME = -1
KEY = ("task", "user_id", "source_entity_id", "query")  # the raw context; rows that share it form one labelled ranking


@dataclass(slots=True)
class Timeline:
    """The events of one user from oldest to newest; rows without a time come first."""

    events: list[HistoryEvent] = field(default_factory=list)
    times: list[int] = field(default_factory=list)

    def before(self, time: int) -> list[HistoryEvent]:
        """Events strictly earlier than `time` (ms). Equal times are left out, because many ratings share a second."""
        first_timed = bisect_left(self.times, 0)
        return self.events[first_timed : bisect_left(self.times, time)]


@dataclass(frozen=True, slots=True)
class LabelledRanking:
    """One context with entities and their labels.

    `slate`: the rows of one ranking that was shown with positive and zero labels. Otherwise all rows that share the raw
    context.
    `taught`: predictions for each row by a teacher that was trained without this labelled ranking.
    """

    context: Context
    entity_ids: tuple[str, ...]
    labels: NDArray[np.float64]
    times: Ints
    slate: bool
    slices: frozenset[str] = frozenset()
    taught: NDArray[np.float32] | None = None


def timelines(events: pl.DataFrame) -> dict[str, Timeline]:
    """The timeline of each user in the table. Derived rows are no events of a user."""
    rows = (
        observed(events)
        .filter(pl.col("user_id").is_not_null())
        .select("user_id", "timestamp", "entity_id", "label", "task")
        .sort("timestamp", nulls_last=False, maintain_order=True)
    )
    result: dict[str, Timeline] = {}
    for user_id, time, entity_id, label, task in rows.iter_rows():
        timeline = result.setdefault(user_id, Timeline())
        timeline.events.append(HistoryEvent(entity_id, label, task, time))
        timeline.times.append(NO_TIME if time is None else time)
    return result


def labelled_rankings(
    events: pl.DataFrame, slates_of: Iterable[str] | None = None, masked: bool = False
) -> list[LabelledRanking]:
    """Slates first, one per ranking; then the rows of all other rankings, grouped by raw context, row title included.

    A row whose entity is its own source is left out: a source is never a candidate of itself.

    `homepage` is never a slate: it is ranked against the whole catalogue. `slates_of` limits the tasks that may
    be slates. `masked`, for training, leaves out rows that nobody looked at; what is a slate does not depend on it.
    Both groups are in the order of their first rows, so the result is the same in every run.
    """
    events = events.filter(~names_its_own_source())
    titles = [ROW_TITLE] if ROW_TITLE in events.columns else []
    key = (*KEY, *titles)
    both_labels = (pl.col("label") > 0).any() & (pl.col("label") <= 0).any()
    slate = both_labels.over("ranking_id", "task") & (pl.col("task") != "homepage")
    if slates_of is not None:
        slate = slate & pl.col("task").is_in(list(slates_of))
    marked = events.with_columns(pl.col(titles).cast(pl.String), slate=slate)
    if masked:
        marked = marked.filter(~_overlooked())
    slates = marked.filter(pl.col("slate")).group_by("ranking_id", "task", maintain_order=True)
    loose = marked.filter(~pl.col("slate")).group_by(*key, maintain_order=True)
    rows = [pl.col(name) for name in ("entity_id", "label", "timestamp", "slice")]
    rest = [pl.col(name).first() for name in (*key, "country") if name != "task"]
    result = [_ranking(row, True) for row in slates.agg(*rows, *rest).iter_rows(named=True)]
    result += [_ranking(row, False) for row in loose.agg(*rows, pl.col("country").first()).iter_rows(named=True)]
    return result


def _overlooked() -> pl.Expr:
    """Rows of label 0 below the last positive of their ranking: probably not looked at, so no negatives.

    A ranking without user and time is a judged slate: its positions are the order of a pool, and all rows were read.
    """
    last = pl.col("position").filter(pl.col("label") > 0).max().over("ranking_id", "task")
    served = pl.col("user_id").is_not_null() | pl.col("timestamp").is_not_null()
    return served & (pl.col("label") <= 0) & (pl.col("position") > last).fill_null(False)


def names_its_own_source() -> pl.Expr:
    """Which rows of an event table have the source as their entity."""
    return (pl.col("source_entity_id") == pl.col("entity_id")).fill_null(False)


def _ranking(row: Mapping[str, Any], slate: bool) -> LabelledRanking:
    times = [NO_TIME if time is None else time for time in row["timestamp"]]
    return LabelledRanking(
        Context(**{name: row[name] for name in (*KEY, "country")}, row_title=row.get(ROW_TITLE)),
        tuple(row["entity_id"]),
        np.array(row["label"], np.float64),
        np.array(times, np.int64),
        slate,
        frozenset(name for name in row["slice"] if name),
    )
