"""Checks and measures a dataset: counts, task overlap, popularity divergence, missing fields. Prints nothing.

`validate` reads a folder and lists what is wrong or doubtful; `describe` measures a dataset that was read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import polars as pl

from model.context.context import MORE_LIKE_THIS
from model.datasets.dataset import IGNORE, Dataset
from model.datasets.errors import MAX_REJECTED, DatasetError, Rejected
from model.events.derived import derived_counts
from model.events.parts import TEST, TRAIN
from model.events.table import PARTS
from model.events.timelines import names_its_own_source

CONTEXT_FIELDS = ("user_id", "query", "country", "source_entity_id", "timestamp", "position")


@dataclass(frozen=True)
class Report:
    """`errors` make the dataset unusable, `warnings` deserve a look. `rejected` = rejected rows."""

    path: Path
    entities: int = 0
    events: int = 0
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)

    @property
    def usable(self) -> bool:
        """Whether it can be trained on."""
        return not self.errors


def validate(path: Path, max_rejected: float = MAX_REJECTED) -> Report:
    """Load and check the folder. Never raises `DatasetError`: its message is in `errors` instead."""
    try:
        dataset = Dataset.load(path, max_rejected)
    except DatasetError as error:
        return Report(path, errors=[str(error)])
    events = dataset.events
    return Report(
        path,
        len(dataset.entities),
        events.height,
        _errors(dataset) + _missing_rows(dataset),
        _warnings(events) + _added_rows(dataset),
        dataset.rejected,
    )


def _errors(dataset: Dataset) -> list[str]:
    errors = []
    if not dataset.entities:
        errors.append("entities: expected at least one, got none")
    if dataset.events.is_empty():
        errors.append("events: expected at least one, got none")
    elif not (dataset.events["label"] > 0).any():
        errors.append("events, column label: expected a positive engagement, got zeros only")
    return errors


def _rows_against_counts(dataset: Dataset) -> dict[str, tuple[int, int]]:
    """File stem → rows in its file, and rows written according to `dataset.json` (if that counts them)."""
    counts = dataset.about.get("counts")
    if not isinstance(counts, dict):
        return {}
    bad = {stem: sum(row.file.startswith(f"{stem}.") for row in dataset.rejected) for stem in ("entities", "events")}
    rows = {"entities": len(dataset.entities) + bad["entities"], "events": dataset.events.height + bad["events"]}
    return {stem: (rows[stem], counts[stem]) for stem in rows if isinstance(counts.get(stem), int)}


def _missing_rows(dataset: Dataset) -> list[str]:
    """An error for each file with fewer rows than were written: it was cut off."""
    counts = _rows_against_counts(dataset).items()
    return [
        f"{stem}: expected {written} rows as dataset.json counts them, got {rows}: the file was cut off"
        for stem, (rows, written) in counts
        if rows < written
    ]


def _added_rows(dataset: Dataset) -> list[str]:
    counts = _rows_against_counts(dataset).items()
    return [
        f"{stem} has {rows} rows where dataset.json counts {written}: rows were added"
        for stem, (rows, written) in counts
        if rows > written
    ]


def _warnings(events: pl.DataFrame) -> list[str]:
    messages = []
    sourceless = events.filter((pl.col("task") == MORE_LIKE_THIS) & pl.col("source_entity_id").is_null()).height
    if sourceless:
        messages.append(f"{sourceless} rows of task more_like_this have no source_entity_id: the task needs it")
    if own := events.filter(names_its_own_source()).height:
        messages.append(f"{own} rows have their source as their entity: they are neither trained nor tested on")
    if split := rankings_in_several_parts(events):
        messages.append(f"{split} rankings have rows in more than one part: their labels leak into training")
    if unparted := events["part"].null_count():
        messages.append(f"{unparted} rows have no part")
    parts = set(events["part"].drop_nulls())
    messages += [f"no row has part {part}" for part in PARTS if parts and part not in parts]
    if repeated := events.height - events.select("ranking_id", "entity_id").n_unique():
        messages.append(f"{repeated} rows repeat an entity within their ranking")
    return messages


def rankings_in_several_parts(events: pl.DataFrame) -> int:
    """Number of slates that are split over several parts."""
    parts = events.group_by("ranking_id").agg(pl.col("part").drop_nulls().n_unique())
    return parts.filter(pl.col("part") > 1).height


# ── description ─────────────────────────────────────────────────────────────────────────────────────────────


def describe(dataset: Dataset) -> dict[str, object]:
    """Plain measures of a dataset, ready for JSON or tables.

    `tasks`: per task and part, rows, rankings, positives and users. `engaged_overlap`: per pair of tasks over
    their positively engaged entities, Jaccard and the share of each task's entities that the other shares.
    `popularity_divergence_bits`: Jensen–Shannon divergence of positives over entities, 0 … 1.
    `derived`: task → rows that nobody did (model/events/derived.py).
    `missing_context`, `missing_attributes`: share of rows or entities without the field, in %.
    """
    counts = positive_counts(dataset.events)
    pairs = {f"{a} | {b}": (counts[a], counts[b]) for a, b in combinations(counts, 2)}
    return {
        "name": dataset.name,
        "entities": len(dataset.entities),
        "users": dataset.events["user_id"].drop_nulls().n_unique(),
        "events": dataset.events.height,
        "rejected": len(dataset.rejected),
        "columns": dict(dataset.columns),
        "tasks": task_counts(dataset.events),
        "derived": derived_counts(dataset.events),
        "slices": _slices(dataset.events),
        "engaged_overlap": {name: overlap(*pair) for name, pair in pairs.items()},
        "popularity_divergence_bits": {name: jensen_shannon_bits(*pair) for name, pair in pairs.items()},
        "entities_never_engaged": len(dataset.entities) - len(set().union(*counts.values())),
        "tests_also_trained": repeated_contexts(dataset.events),
        "missing_context": missing_context(dataset.events),
        "missing_attributes": missing_attributes(dataset.entities, dataset.columns),
    }


def task_counts(events: pl.DataFrame) -> dict[str, dict[str, dict[str, float]]]:
    """Task → part ("all" and those that occur; null is "none") → rows, rankings, users, entities …"""
    parts = events.with_columns(pl.col("part").fill_null("none"))
    both = pl.concat([parts, parts.with_columns(pl.lit("all").alias("part"))])
    rows = both.group_by("task", "part").agg(
        pl.len().alias("rows"),
        pl.col("ranking_id").n_unique().alias("rankings"),
        pl.col("user_id").drop_nulls().n_unique().alias("users"),
        pl.col("entity_id").n_unique().alias("entities"),
        (pl.col("label") > 0).mean().alias("positive_share"),
    )
    table: dict[str, dict[str, dict[str, float]]] = {}
    for task, part, *numbers in rows.sort("task", "part").iter_rows():
        table.setdefault(task, {})[part] = dict(zip(rows.columns[2:], numbers, strict=True))
    return table


def _slices(events: pl.DataFrame) -> dict[str, int]:
    """Slice → number of rankings."""
    rows = events.drop_nulls("slice").group_by("slice").agg(pl.col("ranking_id").n_unique()).sort("slice")
    return dict(rows.iter_rows())


def positive_counts(events: pl.DataFrame) -> dict[str, dict[str, int]]:
    """Task → entity → number of positive rows, tasks in order of name."""
    rows = events.filter(pl.col("label") > 0).group_by("task", "entity_id").len().sort("task", "entity_id")
    table: dict[str, dict[str, int]] = {task: {} for task in sorted(set(events["task"]))}
    for task, entity_id, count in rows.iter_rows():
        table[task][entity_id] = count
    return table


def overlap(first: Mapping[str, int], second: Mapping[str, int]) -> dict[str, float]:
    """Jaccard of two sets of entities, and the share of each that is in both; 0 if a set is empty.

    >>> overlap({"a": 1, "b": 1}, {"b": 5, "c": 1, "d": 1})
    {'jaccard': 0.25, 'shared_of_first': 0.5, 'shared_of_second': 0.3333333333333333}
    """
    shared, union = len(first.keys() & second.keys()), len(first.keys() | second.keys())
    return {
        "jaccard": shared / union if union else 0.0,
        "shared_of_first": shared / len(first) if first else 0.0,
        "shared_of_second": shared / len(second) if second else 0.0,
    }


def jensen_shannon_bits(first: Mapping[str, int], second: Mapping[str, int]) -> float | None:
    """Jensen–Shannon divergence of two count distributions (Lin 1991, eq. 4.1): 0 = equal, 1 = disjoint.

    None if one has no counts.

    >>> jensen_shannon_bits({"a": 2}, {"b": 7}), jensen_shannon_bits({"a": 2}, {"a": 9})
    (1.0, 0.0)
    """
    totals = sum(first.values()), sum(second.values())
    if not all(totals):
        return None
    divergence = 0.0
    for entity in sorted(first.keys() | second.keys()):
        p, q = first.get(entity, 0) / totals[0], second.get(entity, 0) / totals[1]
        divergence += sum(x / 2 * math.log2(2 * x / (p + q)) for x in (p, q) if x > 0)
    return min(max(divergence, 0.0), 1.0)


def repeated_contexts(events: pl.DataFrame) -> dict[str, float]:
    """Task → % of positive test pairs that are positive in training too: a context and an entity.

    The context is query and source, regardless of the user; without both, it is the user.
    """
    keys = ["task", "query", "source_entity_id", "user_id", "entity_id"]
    user_only = pl.col("query").is_null() & pl.col("source_entity_id").is_null()
    positives = events.filter(pl.col("label") > 0).with_columns(pl.when(user_only).then("user_id").alias("user_id"))
    test = positives.filter(pl.col("part") == TEST).select(keys).unique()
    train = positives.filter(pl.col("part") == TRAIN).select(keys).unique()
    seen = test.join(train, on=keys, how="semi", nulls_equal=True)
    table = {}
    for task in sorted(set(test["task"])):
        counts = [frame.filter(pl.col("task") == task).height for frame in (seen, test)]
        table[task] = _percent(*counts)
    return table


def missing_context(events: pl.DataFrame) -> dict[str, dict[str, float]]:
    """Task → context field → % of rows without it. `context.*` and `candidate.*` columns are included."""
    extras = [name for name in events.columns if "." in name]
    fields = [*CONTEXT_FIELDS, *extras]
    rows = events.group_by("task").agg(pl.col(fields).null_count(), pl.len().alias("rows")).sort("task")
    return {
        row["task"]: {name: _percent(row[name], row["rows"]) for name in fields} for row in rows.iter_rows(named=True)
    }


def missing_attributes(entities: Sequence[Mapping[str, object]], columns: Mapping[str, str]) -> dict[str, float]:
    """Attribute → % of entities without it (or with an empty text or list)."""
    used = [name for name, kind in columns.items() if kind != IGNORE]
    empty = {name: sum(entity.get(name) in (None, "", []) for entity in entities) for name in used}
    return {name: _percent(count, len(entities)) for name, count in empty.items()}


def _percent(part: int, total: int) -> float:
    return round(100 * part / total, 2) if total else 0.0
