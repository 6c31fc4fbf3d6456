"""Events as timelines (what a user did, in order) and as units (what one context is to be ranked for).

Reads the event table of a dataset. Draws nothing at random and encodes nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from model.context.context import Context, HistoryEvent

Ints = NDArray[np.int64]
NO_TIME = -1
KEY = ("task", "user_id", "source_entity_id", "query")  # the raw context of a ranking against the catalogue


@dataclass(slots=True)
class Timeline:
    """The events of one user from oldest to newest; rows without a time come first."""

    events: list[HistoryEvent] = field(default_factory=list)
    times: list[int] = field(default_factory=list)

    def before(self, time: int) -> list[HistoryEvent]:
        """Events strictly earlier than `time` (ms); many ratings share a second, so equal times are left out."""
        first_timed = bisect_left(self.times, 0)
        return self.events[first_timed : bisect_left(self.times, time)]


@dataclass(frozen=True, slots=True)
class LabelledRanking:
    """One context and the entities that it was or should be answered with.

    `slate`: rows of one ranking, with both kinds of label. Otherwise all rows that share the raw context. `taught`:
    what a teacher that never saw the unit says of each row.
    """

    context: Context
    entity_ids: tuple[str, ...]
    labels: NDArray[np.float64]
    times: Ints
    slate: bool
    slices: frozenset[str] = frozenset()
    taught: NDArray[np.float32] | None = None


def timelines(events: pl.DataFrame) -> dict[str, Timeline]:
    """Timeline of each user who appears in the table."""
    rows = (
        events.filter(pl.col("user_id").is_not_null())
        .select("user_id", "timestamp", "entity_id", "label", "task")
        .sort("timestamp", nulls_last=False, maintain_order=True)
    )
    result: dict[str, Timeline] = {}
    for user_id, time, entity_id, label, task in rows.iter_rows():
        timeline = result.setdefault(user_id, Timeline())
        timeline.events.append(HistoryEvent(entity_id, label, task, time))
        timeline.times.append(NO_TIME if time is None else time)
    return result


def labelled_rankings(events: pl.DataFrame, slates_of: Iterable[str] | None = None) -> list[LabelledRanking]:
    """Slates first come as slates; the rows of all other rankings are grouped by raw context.

    `homepage` is never a slate: it is ranked against the whole catalogue. `slates_of` limits the tasks that may
    be slates. Order follows the first row of each unit, so it is the same in every run.
    """
    both = (pl.col("label") > 0).any() & (pl.col("label") <= 0).any()
    slate = both.over("ranking_id", "task") & (pl.col("task") != "homepage")
    if slates_of is not None:
        slate = slate & pl.col("task").is_in(list(slates_of))
    marked = events.with_columns(slate=slate)
    slates = marked.filter(pl.col("slate")).group_by("ranking_id", "task", maintain_order=True)
    loose = marked.filter(~pl.col("slate")).group_by(*KEY, maintain_order=True)
    rows = [pl.col(name) for name in ("entity_id", "label", "timestamp", "slice")]
    rest = [pl.col(name).first() for name in (*KEY, "country") if name != "task"]
    result = [_ranking(row, True) for row in slates.agg(*rows, *rest).iter_rows(named=True)]
    result += [_ranking(row, False) for row in loose.agg(*rows, pl.col("country").first()).iter_rows(named=True)]
    return result


def _ranking(row: Mapping[str, Any], slate: bool) -> LabelledRanking:
    times = [NO_TIME if time is None else time for time in row["timestamp"]]
    return LabelledRanking(
        Context(**{name: row[name] for name in (*KEY, "country")}),
        tuple(row["entity_id"]),
        np.array(row["label"], np.float64),
        np.array(times, np.int64),
        slate,
        frozenset(name for name in row["slice"] if name),
    )
