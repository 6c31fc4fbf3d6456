"""Derives rows for each task that a log cannot teach, so that every catalogue is served on three surfaces.

More-like-this comes from likes close in time and from what entities share; search from names; the homepage, of which
the catalogue says least, from recency and variety. The rows are marked (`model/events/derived.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from model.context.context import HOMEPAGE, MORE_LIKE_THIS, SEARCH
from model.datasets.errors import DatasetError
from model.datasets.files import write_events
from model.datasets.importers.alike import Columns, Contents, Entity, alike_pairs, content_events, without_reversals
from model.datasets.importers.co_likes import Association, Like, co_like_events, co_like_pairs, likes_of
from model.datasets.importers.fresh_homepage import fresh_homepage
from model.datasets.importers.name_searches import name_searches
from model.datasets.importers.table_batches import Say
from model.events.derived import derived_counts
from model.events.parts import SHORTEST_HISTORY, TRAIN, assign_parts, fraction
from model.events.table import EVENT_SCHEMA
from model.events.timelines import names_its_own_source

SURFACES = (SEARCH, HOMEPAGE, MORE_LIKE_THIS)
MOST_ENTITIES = 50_000  # of a larger catalogue, a share by hash
MOST_LIKES = 200_000  # of a larger log, the likes of a share of its users


@dataclass
class LogSummary:
    """What derivation has to know of a log, which is added in batches. `rows` = about how many it will have."""

    rows: int
    tasks: set[str] = field(default_factory=set)  # that the log can teach
    likes: list[Like] = field(default_factory=list)

    def add(self, events: pl.DataFrame) -> None:
        """Add events of `EVENT_SCHEMA` that have parts."""
        needed = {SEARCH: "query", MORE_LIKE_THIS: "source_entity_id"}
        fits = [(pl.col("task") != task) | pl.col(name).is_not_null() for task, name in needed.items()]
        positive = events.filter(pl.col("label") > 0, *fits, ~names_its_own_source(), part=TRAIN)
        self.tasks.update(positive["task"].unique())
        share = MOST_LIKES / max(self.rows, 1)
        self.likes += [like for like in likes_of(events) if share >= 1 or fraction("likes", like.user_id) < share]


def with_derived(events: pl.DataFrame, entities: Sequence[Entity], columns: Columns) -> pl.DataFrame:
    """The events of a dataset, which have parts, and after them the derived rows of the tasks that they cannot teach.

    Raises `DatasetError` if there are no events and nothing can be derived.
    """
    log = LogSummary(events.height)
    log.add(events)
    derived = derive(entities, columns, log)
    refuse_unlearnable(events.height, len(entities), derived)
    return pl.concat([events, derived], how="diagonal")


def derive(entities: Sequence[Entity], columns: Columns, log: LogSummary) -> pl.DataFrame:
    """The derived rows of each of the `SURFACES` that the log cannot teach, with parts; possibly none."""
    chosen = _some(entities)
    makers: dict[str, Callable[[], pl.DataFrame]] = {
        SEARCH: lambda: _with_parts(name_searches(chosen)),
        HOMEPAGE: lambda: _with_parts(fresh_homepage(chosen, columns)),
        MORE_LIKE_THIS: lambda: similar_events(chosen, columns, log.likes),
    }
    frames = [make() for task, make in makers.items() if task not in log.tasks]
    return pl.concat([pl.DataFrame(schema=EVENT_SCHEMA), *frames])


def _some(entities: Sequence[Entity]) -> Sequence[Entity]:
    if len(entities) <= MOST_ENTITIES:
        return entities
    share = MOST_ENTITIES / len(entities)
    return [entity for entity in entities if fraction("derive", str(entity["entity_id"])) < share]


def similar_events(entities: Sequence[Entity], columns: Columns, likes: Sequence[Like]) -> pl.DataFrame:
    """More-like-this rows with parts, from training likes and from contents; what likes pair has to be alike, too."""
    contents = Contents(entities, columns)
    similar = without_reversals(_with_parts(content_events(alike_pairs(contents, Association(likes)))))
    return pl.concat([co_like_events(co_like_pairs(likes, contents.agree)), similar])


def _with_parts(events: pl.DataFrame) -> pl.DataFrame:
    """Parts by hash; fewer than ten rankings are all training, as of a user."""
    if events["ranking_id"].n_unique() < SHORTEST_HISTORY:
        return events.with_columns(part=pl.lit(TRAIN))
    return assign_parts(events)


def refuse_unlearnable(events: int, entities: int, derived: pl.DataFrame) -> None:
    """Raise `DatasetError` if there are no events and nothing was derived that tells one entity from another."""
    if not events and (entities < 2 or not {SEARCH, MORE_LIKE_THIS} & set(derived["task"])):
        raise DatasetError(
            "there are no events, and the entities give nothing to learn from: expected two or more, with words in "
            f"their names or values that they share, got {entities}"
        )


def append_derived(
    folder: Path, entities: Sequence[Entity], columns: Columns, log: LogSummary, events: int, warn: Say
) -> dict[str, int]:
    """Append the derived rows to `events.jsonl`, which has `events` rows; task → number of rows.

    Warns of surfaces without any row. Raises `DatasetError` as `refuse_unlearnable` does.
    """
    derived = derive(entities, columns, log)
    refuse_unlearnable(events, len(entities), derived)
    with (folder / "events.jsonl").open("ab") as stream:
        write_events(stream, derived)
    counts = derived_counts(derived)
    for task in SURFACES:
        if task not in log.tasks and task not in counts:
            warn(f"no row teaches {task}, and none can be derived: a model of this dataset will not serve it")
    return counts
