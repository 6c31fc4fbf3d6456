"""A dataset: a folder with entities, events and `dataset.json`. Reads, checks and writes it.

Bad rows are rejected with line, column and reason; a load fails only on a bad file or on too many bad rows. This
file neither imports other tables (importers/) nor assigns parts (`model/events/parts.py`).
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import polars as pl

from model.datasets.errors import (
    MAX_REJECTED,
    UNREADABLE,
    FileFormatError,
    MissingFileError,
    Rejected,
    hold_limit,
    lines,
    shown,
    why_not_object,
)
from model.datasets.files import (
    ABOUT,
    dataset_written_atomically,
    write_about,
    write_events,
    write_rejected,
    write_rows,
)
from model.events.table import (
    conform,
    read_events,
    read_parquet,
)

TEXT, CATEGORIES, NUMBER, IGNORE = "text", "categories", "number", "ignore"

_EXPECTED = {TEXT: "a string", CATEGORIES: "a list of strings", NUMBER: "a finite number"}


@dataclass(frozen=True)
class Dataset:
    """A checked dataset in memory.

    `columns` maps each attribute to text, categories, number or ignore. An entity holds `entity_id`,
    `display_name` and the attributes it has (an absent attribute is unknown). `events` has exactly the columns of
    `EVENT_SCHEMA`, then `context.*` and `candidate.*` columns (String or Float64). `about` is the rest of
    `dataset.json`: licence, attribution, counts.
    """

    path: Path
    name: str
    columns: dict[str, str]
    entities: list[dict[str, object]]
    events: pl.DataFrame
    rejected: list[Rejected] = field(default_factory=list)
    about: dict[str, object] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path, max_rejected: float = MAX_REJECTED) -> Dataset:
        """Read and check the folder `path`. Raises `DatasetError`, one line, if it cannot be used.

        `max_rejected` is the share of a file's rows that may be rejected, 0 to 1.
        """
        about = _read_about(path)
        columns, entities, bad_entities = _read_entities(_data_file(path, "entities"), about, max_rejected)
        known = [entity["entity_id"] for entity in entities]
        events, bad_events = read_events(_data_file(path, "events"), known, max_rejected)
        name = about.pop("name", None)
        rest = {key: value for key, value in about.items() if key != "columns"}
        return cls(path, str(name or path.name), columns, entities, events, bad_entities + bad_events, rest)


# ── the folder ──────────────────────────────────────────────────────────────────────────────────────────────


def _data_file(path: Path, stem: str) -> Path:
    """`stem`.jsonl or `stem`.parquet of the folder: exactly one of the two must exist."""
    files = [file for suffix in (".jsonl", ".parquet") if (file := path / f"{stem}{suffix}").is_file()]
    if not files:
        raise MissingFileError(f"{path}: expected {stem}.jsonl or {stem}.parquet, found neither")
    if len(files) > 1:
        raise FileFormatError(f"{path}: expected one of {stem}.jsonl and {stem}.parquet, found both")
    return files[0]


def _read_about(path: Path) -> dict[str, object]:
    if not path.is_dir():
        raise MissingFileError(f"{path}: expected a dataset folder, found {'a file' if path.exists() else 'nothing'}")
    file = path / ABOUT
    if not file.is_file():
        raise MissingFileError(
            f"{path}: expected a dataset, found no {ABOUT} (a folder that was written by half has none)"
        )
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, object])
    except UNREADABLE as error:
        raise FileFormatError(f"{file.name}: expected a JSON object: {error}") from error


# ── entities ────────────────────────────────────────────────────────────────────────────────────────────────


def kind_of(value: object) -> str | None:
    """The column type of one attribute value, or None if no type fits (bool, object, mixed list)."""
    if isinstance(value, str):
        return TEXT
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return CATEGORIES
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max:
        return NUMBER
    return None


def infer_columns(entities: Iterable[Mapping[str, object]]) -> dict[str, str]:
    """Attribute → its most frequent type, in order of first appearance; text if no value has a type."""
    seen: dict[str, Counter[str]] = {}
    for entity in entities:
        for name, value in entity.items():
            if name in ("entity_id", "display_name"):
                continue
            kinds = seen.setdefault(name, Counter())
            if (kind := kind_of(value)) is not None:
                kinds[kind] += 1
    return {name: kinds.most_common(1)[0][0] if kinds else TEXT for name, kinds in seen.items()}


def _read_entities(
    file: Path, about: Mapping[str, object], limit: float
) -> tuple[dict[str, str], list[dict[str, object]], list[Rejected]]:
    rows, unreadable = _entity_rows(file)
    fixed_columns = _fixed_columns(about)
    inferred_columns = infer_columns(row for _, row in rows)
    columns = fixed_columns | {name: kind for name, kind in inferred_columns.items() if name not in fixed_columns}
    entities, rejected = check_entities(rows, file.name, columns)
    rejected = sorted([*unreadable, *rejected], key=lambda bad: bad.line)
    hold_limit(rejected, len(rows) + len(unreadable), limit)
    return columns, entities, rejected


def check_entities(
    rows: Iterable[tuple[int, Mapping[str, object]]], file: str, columns: Mapping[str, str]
) -> tuple[list[dict[str, object]], list[Rejected]]:
    """Split (line, row) into good entities, without their null attributes, and rejected rows."""
    entities: dict[str, dict[str, object]] = {}
    rejected = []
    for line, row in rows:
        problem = _entity_problem(row, columns, entities)
        if problem is None:
            entity = {name: value for name, value in row.items() if value is not None}
            entities[str(row["entity_id"])] = entity
        else:
            rejected.append(Rejected(file, line, *problem))
    return list(entities.values()), rejected


def _entity_rows(file: Path) -> tuple[list[tuple[int, dict[str, object]]], list[Rejected]]:
    """Line number and raw row of each entity that is a JSON object, and the rejected lines."""
    if file.suffix == ".parquet":
        return list(enumerate(read_parquet(file).to_dicts(), start=1)), []
    decoder = msgspec.json.Decoder(dict[str, object])
    rows, rejected = [], []
    for number, line in lines(file):
        try:
            rows.append((number, decoder.decode(line)))
        except UNREADABLE:
            rejected.append(Rejected(file.name, number, *why_not_object(line)))
    return rows, rejected


def _fixed_columns(about: Mapping[str, object]) -> dict[str, str]:
    """The column types that `dataset.json` sets; any other type than the four is an error of that file."""
    columns = about.get("columns") or {}
    if not isinstance(columns, dict):
        raise FileFormatError(f"dataset.json, columns: expected an object, got {shown(columns)}")
    for name, kind in columns.items():
        if kind not in (TEXT, CATEGORIES, NUMBER, IGNORE):
            expected = "text, categories, number or ignore"
            raise FileFormatError(f"dataset.json, columns.{name}: expected {expected}, got {shown(kind)}")
    return columns


def _entity_problem(
    row: Mapping[str, object], columns: Mapping[str, str], known: Mapping[str, object]
) -> tuple[str, str] | None:
    """Column and reason for rejecting an entity, or None."""
    for name in ("entity_id", "display_name"):
        if not isinstance(row.get(name), str) or not row[name]:
            return name, f"expected a string that is not empty, got {shown(row.get(name))}"
    if row["entity_id"] in known:
        return "entity_id", f"expected each entity once, got {shown(row['entity_id'])} again"
    for name, value in row.items():
        kind = columns.get(name, IGNORE)
        if value is not None and kind != IGNORE and kind_of(value) != kind and value != []:
            return name, f"expected {_EXPECTED[kind]}, got {shown(value)}"
    return None


# ── writing ─────────────────────────────────────────────────────────────────────────────────────────────────


def write_dataset(
    path: Path,
    name: str,
    entities: Sequence[Mapping[str, object]],
    events: pl.DataFrame,
    meta: Mapping[str, object],
    rejected: Sequence[Rejected] = (),
    columns: Mapping[str, str] | None = None,
    file_format: str = "jsonl",
) -> None:
    """Write a dataset folder: entities, events, `dataset.json`, and `rejected.jsonl` if rows were rejected.

    `meta` = licence, attribution and the like. `columns` fixes types and order of the attributes; without it
    they are inferred. `file_format` is jsonl or parquet. An earlier dataset is replaced as a whole, at the end;
    its other files stay. Raises `OSError` if the disk is full; the earlier dataset is then unchanged.
    """
    events = conform(events)
    types = dict(columns) if columns is not None else infer_columns(entities)
    with dataset_written_atomically(path) as folder:
        if file_format == "parquet":
            _entity_frame(entities, types).write_parquet(folder / "entities.parquet")
            events.write_parquet(folder / "events.parquet")
        else:
            write_rows(folder / "entities.jsonl", entities)
            with (folder / "events.jsonl").open("wb") as stream:
                write_events(stream, events)
        write_rejected(folder, rejected)
        counts = {"entities": len(entities), "events": events.height, "rejected": len(rejected)}
        write_about(folder, {"name": name, **meta, "columns": types, "counts": counts})


def _entity_frame(entities: Sequence[Mapping[str, object]], columns: Mapping[str, str]) -> pl.DataFrame:
    types: dict[str, pl.DataType] = {
        TEXT: pl.String(),
        CATEGORIES: pl.List(pl.String()),
        NUMBER: pl.Float64(),
    }
    schema: dict[str, pl.DataType] = {"entity_id": pl.String(), "display_name": pl.String()}
    schema |= {name: types[kind] for name, kind in columns.items() if kind in types}
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in entities], schema=schema)
