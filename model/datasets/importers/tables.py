"""`unirank data import`: the user's own tables (CSV and the like, Parquet, JSON) → a dataset.

Column names are mapped (`target=column`), cells are converted to the required types, and each row that cannot be
converted is rejected with line, column and reason. `dataset.py` and `model/events/table.py` check the values.

A target may be prefixed with its table: `entities.entity_id=movieId`, `events.entity_id=item`. Without a
prefix it applies to each table that has the column. Unmapped event columns that the event table does not have are
left out; unmapped entity columns are attributes. Lines of a text file count from 1, the header included. Entities
are held in memory, events are not: their file may be larger than memory.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from model.context.context import HOMEPAGE
from model.datasets.atomic_writes import write_file_atomically
from model.datasets.errors import (
    MAX_REJECTED,
    DatasetError,
    FileFormatError,
    MissingFileError,
    Rejected,
    TooManyRejectedError,
    hold_limit,
    shown,
)
from model.datasets.files import (
    ABOUT,
    REJECTED,
    dataset_written_atomically,
    rejected_lines,
    write_about,
    write_rejected,
    write_rows,
)
from model.datasets.importers.delimited import open_delimited
from model.datasets.importers.derivation import LogSummary, append_derived
from model.datasets.importers.entity_table import Row, WholeTable, checked_entities, refuse_events, typed_entities
from model.datasets.importers.event_stream import EventStream
from model.datasets.importers.table_batches import Batch, ReadOptions, Say, TableFile
from model.datasets.importers.text_files import PACKED_SUFFIXES, Share, is_blank
from model.datasets.importers.typed_tables import open_json, open_parquet

TEXT_SUFFIXES = (".csv", ".tsv", ".tab", ".psv", ".txt")
JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
PARQUET_SUFFIXES = (".parquet", ".pq")
Cells = TypeVar("Cells")
Rows = Callable[[int, int], None]  # rows so far, and their estimated total


@dataclass(frozen=True)
class Import:
    """The settings of an import. `warn` receives doubtful findings, `rows` the progress."""

    mapping: Mapping[str, str]
    max_rejected: float
    task: str
    options: ReadOptions
    progress: Say
    warn: Say
    rows: Rows
    derive: bool


def import_tables(
    out: Path,
    entities: Path,
    events: Path | None,
    mapping: Mapping[str, str],
    max_rejected: float = MAX_REJECTED,
    name: str | None = None,
    task: str = HOMEPAGE,
    options: ReadOptions | None = None,
    progress: Say = lambda message: None,
    warn: Say = lambda message: None,
    rows: Rows = lambda done, total: None,
    derive: bool = False,
) -> dict[str, int]:
    """Write a dataset to `out` and return its counts: entities, events, rejected, and derived if there are any.

    Without a column `task` every event is of `task`; without `label` it is 1.0; without `ranking_id` each row
    is its own ranking; so it is with empty cells of these columns. Without `part`, parts are assigned.
    `derive`: add rows for the surfaces that the events cannot teach; `events` may then be None or empty. Raises
    `DatasetError` if a file cannot be used or more than `max_rejected` of a table's rows were rejected (their list
    is written first), and `OSError` if the disk is full; an earlier dataset in `out` is then unchanged.
    """
    job = Import(mapping, max_rejected, task, options or ReadOptions(), progress, warn, rows, derive)
    rejected: list[Rejected] = []
    try:
        with dataset_written_atomically(out) as folder:
            counts = _write_tables(folder, entities, events, job, name or out.name, rejected)
    except TooManyRejectedError as error:
        place = out / REJECTED if not (out / ABOUT).exists() else out.with_name(f"{out.name}.{REJECTED}")
        write_file_atomically(place, rejected_lines(rejected))
        raise error.listed_in(place) from error
    return counts


def _write_tables(
    folder: Path, entities: Path, events: Path | None, job: Import, name: str, rejected: list[Rejected]
) -> dict[str, int]:
    job.progress(f"reading {entities.name}" + (f" and {events.name}" if events else ""))
    tables = {"entities": _open_counted(entities, job)}
    if events is not None:
        blank = job.derive and is_blank(events)
        tables["events"] = TableFile(events.name, None, iter(())) if blank else _open_counted(events, job)
    elif not job.derive:
        raise DatasetError("expected a file of events, or to derive rows from the entities")
    _refuse_unmapped(job.mapping, tables)
    items, types = _read_entities(tables, job, rejected)
    write_rows(folder / "entities.jsonl", items)
    known = [row["entity_id"] for row in items]
    kept = items if job.derive else []
    del items
    log, written = _write_events(folder, tables, job, known, rejected)
    derived = append_derived(folder, kept, types, log, written, job.warn) if job.derive else {}
    write_rejected(folder, rejected)
    more = sum(derived.values())
    counts = {"entities": len(known), "events": written + more, "rejected": len(rejected)}
    write_about(folder, {"name": name, "columns": types, "counts": counts} | ({"derived": derived} if more else {}))
    return counts | ({"derived": more} if more else {})


def _write_events(
    folder: Path, tables: dict[str, TableFile], job: Import, known: Sequence[object], rejected: list[Rejected]
) -> tuple[LogSummary, int]:
    """Write `events.jsonl`; what derivation has to know of the events, and their number."""
    if "events" not in tables:
        (folder / "events.jsonl").touch()
        return LogSummary(0), 0
    stream = _stream_events(folder, tables, job, known, rejected)
    job.progress(f"writing {len(known)} entities and {stream.rows} events")
    log = LogSummary(stream.rows)
    note = log.add if job.derive else lambda events: None
    return log, stream.write(folder / "events.jsonl", lambda rows: job.rows(rows, stream.rows), note)


# ── files ───────────────────────────────────────────────────────────────────────────────────────────────────


def open_table(file: Path, options: ReadOptions, warn: Say, share: Share = lambda done: None) -> TableFile:
    """Open a file by its suffix, in any letter case, compressed or not. Raises `DatasetError` for other kinds."""
    if not file.is_file():
        raise MissingFileError(f"{file}: expected a file, found nothing")
    suffixes = [suffix.lower() for suffix in file.suffixes]
    packed = bool(suffixes) and suffixes[-1] in PACKED_SUFFIXES
    suffix = ["", *suffixes][-2 if packed else -1]
    if suffix in TEXT_SUFFIXES:
        return open_delimited(file, options, warn, share)
    if suffix in JSON_SUFFIXES:
        return open_json(file, options, share)
    if suffix in PARQUET_SUFFIXES and not packed:
        return open_parquet(file, options, share)
    known = ", ".join((*TEXT_SUFFIXES, *JSON_SUFFIXES, *PARQUET_SUFFIXES))
    raise FileFormatError(f"{file.name}: expected one of {known}, got {shown(''.join(suffixes[-2:]))}")


def _open_counted(file: Path, job: Import) -> TableFile:
    """The table; reports its rows as its batches are read."""
    share = 0.0

    def set_share(done: float) -> None:
        nonlocal share
        share = done

    table = open_table(file, job.options, job.warn, set_share)

    def counted_batches() -> Iterator[Batch]:
        rows = 0
        for batch in table.batches:
            rows += batch.rows
            job.rows(rows, round(rows / max(share, 1e-9)))
            yield batch

    return replace(table, batches=counted_batches())


# ── names ───────────────────────────────────────────────────────────────────────────────────────────────────


def renamed(columns: Mapping[str, Cells], table: str, mapping: Mapping[str, str]) -> dict[str, Cells]:
    """The columns under their mapped names. A mapped column replaces a column named as the target."""
    targets = {
        target.removeprefix(f"{table}."): column
        for target, column in sorted(mapping.items(), key=lambda item: item[0].startswith(f"{table}."))
        if column in columns and (target.startswith(f"{table}.") or _table_of(target) is None)
    }
    used = set(targets.values())
    kept = {name: cells for name, cells in columns.items() if name not in used and name not in targets}
    return {**{target: columns[column] for target, column in targets.items()}, **kept}


def _table_of(target: str) -> str | None:
    return next((table for table in ("entities", "events") if target.startswith(f"{table}.")), None)


def _refuse_unmapped(mapping: Mapping[str, str], tables: Mapping[str, TableFile]) -> None:
    """Raise `DatasetError` for a mapping whose column no table has; a table with unknown columns may have it."""
    for target, column in mapping.items():
        prefix = _table_of(target)
        candidates = [table for name, table in tables.items() if prefix in (None, name)]
        if not any(table.columns is None or column in table.columns for table in candidates):
            files = " or ".join(table.file for table in candidates) or "a file of events"
            raise DatasetError(f"map {target}={column}: expected a column of {files}, found none named {column}")


def _require_columns(
    columns: Collection[str], names: Sequence[str], table: str, file: str, mapping: Mapping[str, str]
) -> None:
    mapped = renamed(dict.fromkeys(columns), table, mapping)
    for name in names:
        if name not in mapped:
            hint = ""
            if name == "display_name" and len({"user_id", "timestamp", "label", "position", "query"} & set(mapped)) > 1:
                hint = "; it looks like a file of events"
            existing = ", ".join(mapped) or "no columns"
            raise FileFormatError(f"{file}, column {name}: expected it or a map {name}=COLUMN, found {existing}{hint}")


# ── the two tables ──────────────────────────────────────────────────────────────────────────────────────────


def _read_entities(
    tables: dict[str, TableFile], job: Import, rejected: list[Rejected]
) -> tuple[list[Row], dict[str, str]]:
    """Checked entities and their column types. Adds rejected rows to `rejected`, and enforces the limit."""
    table = tables["entities"]
    cells = WholeTable(table.file)
    needed = ("entity_id", "display_name")
    if table.columns is not None:
        _require_columns(table.columns, needed, "entities", table.file, job.mapping)
    for batch in table.batches:
        cells.add(batch)
    _refuse_other_encoding(cells.file, cells.undecodable, cells.rows, cells.rejected, job.max_rejected)
    _refuse_empty(table.file, cells.rows)
    tables["entities"] = replace(table, columns=list(cells.columns))
    _refuse_unmapped(job.mapping, tables)
    if cells.lines:
        _require_columns(cells.columns, needed, "entities", table.file, job.mapping)
    columns = renamed(cells.columns, "entities", job.mapping)
    rows = typed_entities(cells, columns, job.options) if cells.lines else []
    good, types, bad = checked_entities(cells, rows)
    rejected += bad
    refuse_events(cells, columns, len(good))
    hold_limit(bad, cells.rows, job.max_rejected)
    return good, types


def _stream_events(
    folder: Path, tables: dict[str, TableFile], job: Import, known: Sequence[object], rejected: list[Rejected]
) -> EventStream:
    """All events, checked and spooled. Adds rejected rows to `rejected`, and enforces the limit."""
    table = tables["events"]
    if table.columns is not None:
        _require_columns(table.columns, ("entity_id",), "events", table.file, job.mapping)
    mapped = renamed(dict.fromkeys(table.columns or ()), "events", job.mapping)
    alone = table.columns is not None and "ranking_id" not in mapped
    stream = EventStream(folder, known, job.options, job.task, alone, table.file, job.warn)
    seen: dict[str, None] = {}
    try:
        for batch in table.batches:
            seen.update(dict.fromkeys(batch.columns))
            stream.add(replace(batch, columns=renamed(batch.columns, "events", job.mapping)))
        stream.settle_times()
    finally:
        rejected += stream.rejected
    _refuse_other_encoding(table.file, stream.undecodable, stream.rows, stream.rejected, job.max_rejected)
    if not job.derive:
        _refuse_empty(table.file, stream.rows)
    tables["events"] = replace(table, columns=table.columns or list(seen) or None)
    _refuse_unmapped(job.mapping, tables)
    if seen:
        _require_columns(seen, ("entity_id",), "events", table.file, job.mapping)
    hold_limit(stream.rejected, stream.rows, job.max_rejected)
    return stream


def _refuse_other_encoding(file: str, bad: int, rows: int, rejected: Sequence[Rejected], limit: float) -> None:
    """Raise `FileFormatError` for a file in another encoding: it is a bad file, not many bad rows."""
    if bad > limit * rows:
        first = next(row for row in rejected if "UTF-8" in row.reason)
        raise FileFormatError(f"{first} ({bad} of {rows} rows)")


def _refuse_empty(file: str, rows: int) -> None:
    if not rows:
        raise FileFormatError(f"{file}: expected at least one row, found a header at most")
