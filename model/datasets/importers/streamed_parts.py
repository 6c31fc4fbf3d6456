"""Parts for events that arrive in batches: rules 1 to 3 of `model/events/parts.py` with 27 bytes per row in memory.

A row is reduced to numbers (hashes of its ranking and user, its time, the part by its key); the part of a ranking
is decided once all rows are known. Does not apply rule 4 (unseen entities).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from model.events.parts import SHORTEST_HISTORY, SOURCE_SHARES, part_by_hash, source_part, text_part
from model.events.table import PARTS
from model.text.normalise import normalise

Ints = NDArray[np.int64]
_NOTHING, _SOURCE, _QUERY = 0, 1, 2  # what decides the part of a ranking without time
_RANK = {part: rank for rank, part in enumerate(PARTS)}


@dataclass
class RowKeys:
    """The numbers kept of each row, batch by batch. `alone` = each row is its own ranking."""

    alone: bool
    rankings: list[NDArray[np.uint64]] = field(default_factory=list)
    users: list[NDArray[np.uint64]] = field(default_factory=list)  # 0 = unknown
    kinds: list[NDArray[np.int8]] = field(default_factory=list)
    ranks: list[NDArray[np.int8]] = field(default_factory=list)

    def add(self, events: pl.DataFrame, timed: pl.Series) -> None:
        """Events of `EVENT_SCHEMA`; `timed` [n] = which of them have a time."""
        if not self.alone:
            self.rankings.append(events["ranking_id"].hash().to_numpy())
        users = events["user_id"]
        self.users.append(users.hash().set(users.is_null(), 0).to_numpy())
        keys = _keys(events, users.is_not_null() & timed)
        self.kinds.append(keys["kind"].to_numpy())
        self.ranks.append(keys["rank"].to_numpy())

    def ranks_of_rows(self, times: Ints, has_time: NDArray[np.bool_], kept: NDArray[np.bool_]) -> NDArray[np.int8]:
        """The rank of each kept row's part (0 train, 1 validation, 2 test), in order.

        `times` [n] in ms and `has_time` [n]; `kept` [n] leaves rows out.
        """
        users = np.concatenate(self.users)[kept]
        self.users.clear()
        kinds, ranks = np.concatenate(self.kinds)[kept], np.concatenate(self.ranks)[kept]
        times, has_time = times[kept], has_time[kept]
        if self.alone:
            timed = (users != 0) & has_time
            return _decide_ranks(users, times, timed, kinds, ranks, np.arange(len(users)))
        return _by_ranking(np.concatenate(self.rankings)[kept], users, times, has_time, kinds, ranks)


def _keys(events: pl.DataFrame, timed: pl.Series) -> pl.DataFrame:
    """`kind` and `rank` of each row: the key that decides its part if time does not, and that part."""
    texts = _ranks_by_text(events["query"], lambda query: _RANK[text_part(query)] if normalise(query) else None)
    sources = _ranks_by_text(events["source_entity_id"], lambda source: _RANK[source_part(source)])
    unkeyed = texts.is_null() & sources.is_null() & ~timed
    rankings = _ranks_by_text(
        events["ranking_id"].set(~unkeyed, None),
        lambda ranking: _RANK[part_by_hash("ranking", ranking, *SOURCE_SHARES)],
    )
    kind = pl.when(pl.col("text").is_not_null()).then(_QUERY).when(pl.col("source").is_not_null()).then(_SOURCE)
    frame = pl.DataFrame({"text": texts, "source": sources, "ranking": rankings})
    return frame.select(
        kind.otherwise(_NOTHING).cast(pl.Int8).alias("kind"),
        pl.coalesce("text", "source", "ranking").fill_null(0).cast(pl.Int8).alias("rank"),
    )


def _ranks_by_text(cells: pl.Series, rank: Callable[[str], int | None]) -> pl.Series:
    """`rank` of each text, called once per distinct text."""
    distinct = cells.drop_nulls().unique()
    table = pl.DataFrame({"text": distinct, "rank": pl.Series([rank(text) for text in distinct], dtype=pl.Int8)})
    return cells.to_frame("text").join(table, on="text", how="left", maintain_order="left")["rank"]


def _by_ranking(
    rankings: NDArray[np.uint64], users: NDArray[np.uint64], times: Ints, has_time: NDArray[np.bool_],
    kinds: NDArray[np.int8], ranks: NDArray[np.int8],
) -> NDArray[np.int8]:  # fmt: skip
    """Rows → rankings: first known user, earliest time, the first of the strongest keys → rows again."""
    order = np.argsort(rankings, kind="stable")
    ordered = rankings[order]
    is_start = np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(ordered)]
    starts = np.flatnonzero(is_start)
    if not len(starts):
        return ranks
    del ordered
    first_user = _first_good(users[order] != 0, starts)
    key = np.minimum.reduceat((_QUERY - kinds[order].astype(np.int64) << 40) + np.arange(len(order)), starts) % 2**40
    earliest = np.minimum.reduceat(np.where(has_time, times, np.iinfo(np.int64).max)[order], starts)
    ranking_users = users[order[first_user]]
    timed = (ranking_users != 0) & (earliest != np.iinfo(np.int64).max)
    decided = _decide_ranks(ranking_users, earliest, timed, kinds[order[key]], ranks[order[key]], order[starts])
    rows = np.empty(len(order), np.int8)
    rows[order] = decided[np.cumsum(is_start) - 1]
    return rows


def _first_good(good: NDArray[np.bool_], starts: Ints) -> Ints:
    """Place of the first good row of each group, or of its first row if none is good."""
    places = np.where(good, np.arange(len(good)), len(good))
    first = np.minimum.reduceat(places, starts)
    return np.where(first == len(good), starts, first)


def _decide_ranks(
    users: NDArray[np.uint64], times: Ints, timed: NDArray[np.bool_], kinds: NDArray[np.int8],
    ranks: NDArray[np.int8], appearance: Ints,
) -> NDArray[np.int8]:  # fmt: skip
    """The later of the ranks by time and by key, per ranking. With a time, only a query counts as a key."""
    by_key = np.where(timed & (kinds < _QUERY), 0, ranks).astype(np.int8)
    rows = np.flatnonzero(timed)
    order = rows[np.lexsort((appearance[rows], times[rows], users[rows]))]
    ordered_users = users[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered_users[1:] != ordered_users[:-1]])[: len(ordered_users)])
    totals = np.diff(np.append(starts, len(ordered_users)))
    total = np.repeat(totals, totals)
    place = np.arange(len(ordered_users)) - np.repeat(starts, totals) + 1
    held_out = np.where(total >= SHORTEST_HISTORY, total // 10, 0)
    by_key[order] = np.maximum(
        by_key[order], (place > total - held_out).astype(np.int8) + (place > total - 2 * held_out)
    )
    return by_key
