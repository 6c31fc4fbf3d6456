"""Small datasets in which something is missing that most catalogues have, and contexts to query their models with.

Each has at most a dozen entities, with one thing left out or made useless. Tests nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path

import polars as pl

from model.artefact.model import Artefact
from model.config import Config, NetworkConfig, TrainingConfig
from model.context.context import HOMEPAGE, MORE_LIKE_THIS, SEARCH, Context, HistoryEvent
from model.context.imputation import can_fill
from model.datasets.dataset import Dataset
from model.events.table import conform

TINY = Config(
    NetworkConfig(
        width=8, text_width=8, text_buckets=2**8, engagement_width=4, id_width=4, category_width=4,
        category_buckets=16, user_width=4, tower_hidden=8, scorer_hidden=8, history_length=3, profile_length=5,
        feature_bins=2,
    ),
    TrainingConfig(
        steps=1, contexts_per_step=6, negatives=4, folds=2, evaluations=1, validation_rankings=4, name_searches=0.3
    ),
)  # fmt: skip
COLUMNS = {"about": "text", "kinds": "categories", "price": "number"}
WORDS = ("toy", "story", "night", "river", "ghost", "city")
Row = dict[str, object]
Change = Callable[[Dataset], Dataset]


def base() -> Dataset:
    """Twelve entities that have everything, and events of three tasks by four users."""
    rows = [*_searches(), *_homepages(), *_pairs()]
    events = conform(pl.DataFrame(rows, infer_schema_length=None))
    return Dataset(Path("nowhere"), "degenerate", dict(COLUMNS), [_entity(n) for n in range(12)], events)


def _entity(number: int) -> Row:
    first, second = WORDS[number % 6], WORDS[number * 5 % 6]
    return {
        "entity_id": f"e{number}", "display_name": f"{first} {second} {number}", "about": f"a tale of a {second}",
        "kinds": ["drama", f"kind {number % 3}"], "price": number + 0.5,
    }  # fmt: skip


def _searches() -> Iterator[Row]:
    for number in range(12):
        for entity, label in ((number, 1.0), ((number + 1) % 12, 0.0)):
            yield _event(SEARCH, f"s{number}", entity, label, number, query=WORDS[number % 6])


def _homepages() -> Iterator[Row]:
    for number in range(24):
        yield _event(HOMEPAGE, f"h{number}", number % 12, float(number % 3 > 0), number, user=f"u{number % 4}")


def _pairs() -> Iterator[Row]:
    for number in range(12):
        yield _event(MORE_LIKE_THIS, f"m{number}", (number + 3) % 12, 1.0, None, source=f"e{number}")


def _event(
    task: str, ranking: str, entity: int, label: float, time: int | None, user: str | None = None,
    query: str | None = None, source: str | None = None,
) -> Row:  # fmt: skip
    return {
        "ranking_id": ranking, "timestamp": time, "task": task, "user_id": user, "query": query,
        "country": None if user is None else "US" if user < "u2" else "DE", "source_entity_id": source,
        "entity_id": f"e{entity}", "label": label,
    }  # fmt: skip


# ── what is missing ─────────────────────────────────────────────────────────────────────────────────────────


def entities(change: Callable[[int, Row], Mapping[str, object]]) -> Change:
    """Each entity changed by its number."""
    return lambda world: replace(world, entities=[{**e, **change(n, e)} for n, e in enumerate(world.entities)])


def without(*columns: str) -> Change:
    """Attributes that no entity has."""

    def change(world: Dataset) -> Dataset:
        kept = [{k: v for k, v in entity.items() if k not in columns} for entity in world.entities]
        return replace(world, entities=kept, columns={k: v for k, v in world.columns.items() if k not in columns})

    return change


def unfilled(*columns: str) -> Change:
    """Columns that are declared and empty everywhere."""

    def change(world: Dataset) -> Dataset:
        kept = [{k: v for k, v in entity.items() if k not in columns} for entity in world.entities]
        return replace(world, entities=kept)

    return change


def first(count: int) -> Change:
    """The first entities alone, and the events of these."""

    def change(world: Dataset) -> Dataset:
        known = [f"e{number}" for number in range(count)]
        source = pl.col("source_entity_id")
        events = world.events.filter(pl.col("entity_id").is_in(known) & (source.is_null() | source.is_in(known)))
        return replace(world, entities=world.entities[:count], events=events)

    return change


def events(*changes: pl.Expr) -> Change:
    """Columns of the events replaced."""
    return lambda world: replace(world, events=conform(world.events.with_columns(*changes)))


def only(condition: pl.Expr) -> Change:
    """Some of the events."""
    return lambda world: replace(world, events=world.events.filter(condition))


def joined(*changes: Change) -> Change:
    """One change after another."""

    def change(world: Dataset) -> Dataset:
        for one in changes:
            world = one(world)
        return world

    return change


def no(column: str) -> pl.Expr:
    """A column of nulls."""
    return pl.lit(None, dtype=pl.Int64 if column == "timestamp" else pl.String).alias(column)


USELESS = {"a": 7.0, "b": 0.0, "c": 1e300, "d": -1e9, "e": math.inf, "f": math.nan, "g": None, "h": 7.1}
ODD_NAMES = ("?!…", "🎬🎬", "\u0301\u0302", "𠮷野家𪚥 𝒳", "ab" * 5000, "x", "the same", "the same")
WORLDS: dict[str, Change] = {
    "everything": lambda world: world,
    "no number": without("price"),
    "no text": without("about"),
    "no categories": without("kinds"),
    "nothing but id and name": without("about", "kinds", "price"),
    "text empty everywhere": unfilled("about"),
    "text of blanks": entities(lambda n, _: {"about": " \t…"}),
    "categories empty everywhere": entities(lambda n, _: {"kinds": []}),
    "one category each": entities(lambda n, _: {"kinds": [f"only {n}"]}),
    "number null everywhere": unfilled("price"),
    "numbers that say nothing": lambda world: replace(
        entities(lambda n, _: USELESS)(world), columns={**COLUMNS, **dict.fromkeys(USELESS, "number")}
    ),
    "number with one infinity": entities(lambda n, e: {"price": math.inf if n == 3 else e["price"]}),
    "number with both ends": entities(lambda n, _: {"price": (-1e308, 1e308, 0.0)[n % 3]}),
    "all columns ignored": lambda world: replace(world, columns=dict.fromkeys(COLUMNS, "ignore")),
    "many columns": lambda world: replace(
        entities(lambda n, _: {f"t{i}": f"word{i} {n}" for i in range(14)})(world),
        columns={**COLUMNS, **{f"t{i}": "text" for i in range(14)}},
    ),
    "names of punctuation": entities(lambda n, _: {"display_name": "?!…"}),
    "odd names": entities(lambda n, _: {"display_name": ODD_NAMES[n % len(ODD_NAMES)]}),
    "names of four hundred words": entities(lambda n, _: {"display_name": " ".join(f"w{n}x{i}" for i in range(1000))}),
    "one name for all": entities(lambda n, _: {"display_name": "the same"}),
    "an entity without tokens": entities(
        lambda n, e: {"display_name": "…", "about": "", "kinds": []} if n == 0 else {}
    ),
    "no token at all": joined(without("about", "kinds", "price"), entities(lambda n, _: {"display_name": "…"})),
    "one entity": first(1),
    "two entities": first(2),
    "one user": events(pl.when(pl.col("user_id").is_not_null()).then(pl.lit("u0")).alias("user_id")),
    "no users": events(no("user_id")),
    "no countries": events(no("country")),
    "no users, no countries": events(no("user_id"), no("country")),
    "countries without users": events(no("user_id"), pl.lit("US").alias("country")),
    "no times": events(no("timestamp")),
    "no queries": events(no("query")),
    "queries of punctuation": events(pl.when(pl.col("query").is_not_null()).then(pl.lit("…")).alias("query")),
    "search alone": only(pl.col("task") == SEARCH),
    "homepage alone": only(pl.col("task") == HOMEPAGE),
    "more-like-this alone": only(pl.col("task") == MORE_LIKE_THIS),
    "no more-like-this": only(pl.col("task") != MORE_LIKE_THIS),
    "another task": events(pl.lit("email").alias("task")),
    "another task beside": events(
        pl.when(pl.col("task") == MORE_LIKE_THIS).then(pl.lit("email")).otherwise("task").alias("task")
    ),
    "positives alone": events(pl.lit(1.0).alias("label")),
    "one event": only(pl.col("ranking_id") == "h1"),
    "a task of negatives": events(
        pl.when(pl.col("task") == HOMEPAGE).then(0.0).otherwise("label").alias("label")
    ),
    "all in validation but one": events(
        pl.when(pl.col("ranking_id") == "h1").then(pl.lit("train")).otherwise(pl.lit("validation")).alias("part")
    ),
}  # fmt: skip
REFUSED: dict[str, tuple[Change, str]] = {
    "no entities": (joined(lambda w: replace(w, entities=[]), only(pl.lit(False))), "no entities"),
    "no events": (only(pl.lit(False)), "no rows"),
    "negatives alone": (events(pl.lit(0.0).alias("label")), "no positive label"),
    "more-like-this without sources": (
        joined(only(pl.col("task") == MORE_LIKE_THIS), events(no("source_entity_id"))), "source_entity_id",
    ),
    "nothing to train on": (events(pl.lit("test").alias("part")), "no rows"),
    "positives that no task can rank": (
        events(
            pl.when(pl.col("task") == MORE_LIKE_THIS).then(1.0).otherwise(0.0).alias("label"), no("source_entity_id")
        ),
        "can be ranked",
    ),
}  # fmt: skip


# ── what is asked ───────────────────────────────────────────────────────────────────────────────────────────


def contexts(artefact: Artefact, stride: int = 1) -> list[Context]:
    """Combinations of known, unknown and missing fields for each task of a model: all, or one in `stride`."""
    ids, names = artefact.catalogue.ids, artefact.catalogue.names
    users = [*artefact.contents.users[:1], "a stranger", None]
    queries = [names[ids[0]], "xyzzy", "…", None]
    countries = [*artefact.contents.countries[:1], "XX", None]
    sources = [ids[0], "unknown", None]
    histories = [
        (), tuple(HistoryEvent(one) for one in ids[:7]), (HistoryEvent(ids[-1], 0.0),), (HistoryEvent("unknown"),)
    ]  # fmt: skip
    every = product(artefact.tasks, users, queries, countries, sources, histories)
    asked = (
        Context(task, user, query, country, source, history) for task, user, query, country, source, history in every
    )
    return [one for one in asked if can_fill(one, artefact.catalogue.rules)][::stride]


def body(context: Context) -> bytes:
    """The same for `POST /v1/rank`, without candidates."""
    fields = {name: getattr(context, name) for name in ("task", "user_id", "query", "country", "source_entity_id")}
    history = [{"entity_id": event.entity_id, "label": event.label} for event in context.history]
    given = {name: value for name, value in {**fields, "history": history}.items() if value is not None}
    return json.dumps({"context": given, "limit": 20}).encode()
