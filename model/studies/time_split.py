"""An alternative split into parts: at the same dates for all users, as in production. Most test users are then new.

The split of a dataset (`model/events/parts.py`) holds out the last rows of each user, so every user of its test part
is known. Rows without a user or a time keep their part.
"""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from model.datasets.dataset import Dataset
from model.events.parts import TEST, TRAIN, VALIDATION

HELD = 0.1  # of the rankings with a time: the latest are test, as many before them validation


def by_time(dataset: Dataset) -> Dataset:
    """The dataset with the rankings of users split at two times. Rankings of the same time stay together.

    Raises ValueError if no event has a user and a time.
    """
    events = dataset.events
    timed = pl.col("user_id").is_not_null() & pl.col("timestamp").is_not_null()
    starts = events.filter(timed).group_by("ranking_id").agg(pl.col("timestamp").min().alias("start"))
    if starts.is_empty():
        raise ValueError("a split by time needs events that have a user and a timestamp; this dataset has none")
    first, second = (starts["start"].quantile(share, "lower") for share in (1 - 2 * HELD, 1 - HELD))
    start = pl.col("start")
    part = (
        pl.when(start <= first)
        .then(pl.lit(TRAIN))
        .when(start <= second)
        .then(pl.lit(VALIDATION))
        .otherwise(pl.lit(TEST))
    )
    split = events.join(starts, on="ranking_id", how="left", maintain_order="left")
    split = split.with_columns(pl.when(timed).then(part).otherwise(pl.col("part")).alias("part")).drop("start")
    return replace(dataset, events=split)
