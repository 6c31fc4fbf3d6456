"""What people engaged with next: from each entity to those that were liked soon after it. Trains no network.

Co-engagement has no direction, and says what goes together over a whole life; this says what comes next, as in a series
or an evening. An entity keeps its strongest successors only, so a history reaches a few hundred entities.
Weight of a successor = (its likes within `WINDOW` events, nearer ones more) / (all such likes + `PRIOR`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np
import polars as pl
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Rows = NDArray[np.int32]
Floats = NDArray[np.float32]
Halves = NDArray[np.float16]
WINDOW = 10  # events after an entity that count as soon
FADE = 0.2  # a like after d events weighs 1 / (1 + FADE · (d - 1))
PRIOR = 30.0  # likes that were not seen: rare entities have weak successors
NOBODY = -1  # row of an empty place


@dataclass(frozen=True, slots=True)
class Transitions:
    """The K strongest successors of N entities, strongest first; `NOBODY` and weight 0 where there are fewer."""

    rows: Rows  # [N, K]
    weights: Floats | Halves  # [N, K], half precision

    @classmethod
    def none(cls, count: int, width: int) -> Transitions:
        """Without any successor."""
        return cls(np.full((count, width), NOBODY, np.int32), np.zeros((count, width), np.float32))

    def take(self, rows: Ints) -> Transitions:
        """The successors of these rows; row -1 = an entity without any."""
        known = (rows >= 0)[:, None]
        return Transitions(
            np.where(known, self.rows[rows], np.int32(NOBODY)), self.weights[rows].astype(np.float32) * known
        )


def fit(users: Ints, entities: Ints, liked: NDArray[np.bool_], entity_count: int, width: int) -> Transitions:
    """The successors in events [M], ordered by user and then by time."""
    result = Transitions.none(entity_count, width)
    pairs = _pairs(users, entities, liked)
    if not width or not pairs.height:
        return result
    total = pl.col("weight").sum().over("first")
    strongest = (
        pairs.with_columns(pl.col("weight") / (total + PRIOR))
        .sort(["first", "weight", "next"], descending=[False, True, False])
        .with_columns(pl.int_range(pl.len()).over("first").alias("place"))
        .filter(pl.col("place") < width)
    )
    first, place = strongest["first"].to_numpy(), strongest["place"].to_numpy()
    result.rows[first, place] = strongest["next"].to_numpy()
    result.weights[first, place] = strongest["weight"].to_numpy().astype(np.float16)
    return result


def _pairs(users: Ints, entities: Ints, liked: NDArray[np.bool_]) -> pl.DataFrame:
    """Each entity with each one that was liked soon after it, and the summed weight: columns first, next, weight."""
    parts = []
    for distance in range(1, WINDOW + 1):
        kept = (users[:-distance] == users[distance:]) & liked[distance:]
        first, following = entities[:-distance][kept], entities[distance:][kept]
        part = pl.DataFrame({"first": first, "next": following}).filter(pl.col("first") != pl.col("next"))
        parts.append(part.with_columns(pl.lit(1 / (1 + FADE * (distance - 1))).alias("weight")))
    return reduce(_summed, parts)  # one distance at a time: a long log has ten times as many pairs as events


def _summed(pairs: pl.DataFrame, more: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([pairs, more]).group_by("first", "next").agg(pl.col("weight").sum())
