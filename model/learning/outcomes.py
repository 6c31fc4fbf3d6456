"""What users did, as tables that the features read: co-engagement, popularity, tastes of countries.

Trains no network. `training_data.py` selects the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from model.config import Config
from model.context.context import HOMEPAGE, MORE_LIKE_THIS
from model.events import engagement, transitions
from model.events.derived import observed
from model.events.engagement import Engagement
from model.events.transitions import Transitions
from model.learning.engagement_size import LaterLikes, choose_size

Say = Callable[[str], None]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Tables of co-engagement, one per fold and last that of all users; tastes of countries"""

    tables: list[Engagement]
    tastes: NDArray[np.float32]  # [tables, countries, Dz] mean taste of each country


def with_sizes(config: Config, events: pl.DataFrame, held_out: pl.DataFrame, rows: Mapping[str, int]) -> Config:
    """The configuration with rank and ridge of the co-engagement space chosen on the held-out rows, where it says 0."""
    network = config.network
    if network.engagement_width and network.engagement_ridge:
        return config
    events, held_out = observed(events), observed(held_out)
    shown = _shown(events)
    users = np.unique(shown["user_id"].to_numpy(), return_inverse=True)[1]
    weights = np.where(shown["label"].to_numpy() > 0, 1.0, network.engagement_passed)
    tests = _later_likes(events, held_out, rows)
    rank, ridge = choose_size(users, _rows_of(shown, rows), weights, len(rows), tests, config.seed)
    network = replace(
        network, engagement_width=network.engagement_width or rank, engagement_ridge=network.engagement_ridge or ridge
    )
    return replace(config, network=network)


def outcomes_of(
    events: pl.DataFrame, rows: Mapping[str, int], countries: Sequence[str], config: Config, say: Say
) -> Outcomes:
    """From rows with a user that were not derived: likes, and negatives shown alone, such as low ratings."""
    events, network = observed(events), config.network
    shown = _shown(events)
    entities, liked = _rows_of(shown, rows), shown["label"].to_numpy() > 0
    tables = engagement.fit_folds(
        shown["user_id"].to_list(), entities, len(rows), network.engagement_width, network.engagement_ridge,
        config.training.folds, config.seed, say, np.where(liked, 1.0, network.engagement_passed),
    )  # fmt: skip
    successors = _transitions(shown, rows, config)
    tables = [replace(table, transitions=own) for table, own in zip(tables, successors, strict=True)]
    return Outcomes(tables, _tastes(events, rows, countries, tables))


def _transitions(shown: pl.DataFrame, rows: Mapping[str, int], config: Config) -> list[Transitions]:
    """The successors of each entity, for each table. Rows without a time have no order and are left out."""
    timed = shown.filter(pl.col("timestamp").is_not_null()).sort("user_id", "timestamp", maintain_order=True)
    users, entities = timed["user_id"].to_list(), _rows_of(timed, rows)
    liked, folds = timed["label"].to_numpy() > 0, engagement.folds_of(users, config.training.folds)
    codes = np.unique(np.array(users, dtype=object), return_inverse=True)[1]
    kept = [folds != left_out for left_out in range(config.training.folds + 1)]
    return [transitions.fit(codes[k], entities[k], liked[k], len(rows), config.network.transitions) for k in kept]


def _shown(events: pl.DataFrame) -> pl.DataFrame:
    """Rows that tell which entities go together. A row skipped among others depends more on the page: left out."""
    alone = pl.len().over("ranking_id", "task") == 1
    with_user = (pl.col("task") != MORE_LIKE_THIS) & pl.col("user_id").is_not_null()
    return events.filter(with_user & ((pl.col("label") > 0) | alone))


def _rows_of(events: pl.DataFrame, rows: Mapping[str, int]) -> Ints:
    return np.array([rows[entity] for entity in events["entity_id"]], np.int64)


def _later_likes(events: pl.DataFrame, held_out: pl.DataFrame, rows: Mapping[str, int]) -> list[LaterLikes]:
    """The training likes of each user with held-out likes on the homepage, in order of time."""
    earlier = _likes_by_user(_shown(events), rows)
    later = _likes_by_user(held_out.filter((pl.col("task") == HOMEPAGE) & pl.col("user_id").is_not_null()), rows)
    return [LaterLikes(earlier[user], likes) for user, likes in later.items() if user in earlier]


def _likes_by_user(events: pl.DataFrame, rows: Mapping[str, int]) -> dict[str, Ints]:
    liked = events.filter(pl.col("label") > 0).sort("timestamp", nulls_last=False, maintain_order=True)
    grouped = liked.group_by("user_id", maintain_order=True).agg("entity_id")
    return {user: np.array([rows[entity] for entity in ids], np.int64) for user, ids in grouped.iter_rows()}


def _tastes(
    events: pl.DataFrame, rows: Mapping[str, int], countries: Sequence[str], tables: Sequence[Engagement]
) -> NDArray[np.float32]:
    """The taste of each country in the space of each table, without the users that the table leaves out."""
    indices = {country: place for place, country in enumerate(countries)}
    liked = events.filter((pl.col("label") > 0) & pl.col("user_id").is_not_null() & pl.col("country").is_not_null())
    entities = _rows_of(liked, rows)
    country_index = np.array([indices[country] for country in liked["country"]], np.int64)
    folds = engagement.folds_of(liked["user_id"].to_list(), len(tables) - 1)
    kept = [folds != left_out for left_out in range(len(tables))]
    tastes = [
        engagement.tastes(t, entities[k], country_index[k], len(countries)) for t, k in zip(tables, kept, strict=True)
    ]
    return np.stack(tastes)
