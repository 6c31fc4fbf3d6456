"""`unirank data import`: tables of one's own (CSV, TSV, Parquet, JSON lines) → a dataset.

Column names are mapped (`target=column`), cells are converted to the contract's types, and each row that
cannot be is set aside with line, column and reason. Values are checked by dataset.py.

A target may be prefixed with its table: `entities.entity_id=movieId`, `events.entity_id=item`. Without a
prefix it holds for each table that has the column. Unmapped event columns outside the contract are left out;
unmapped entity columns are attributes. Lines of a CSV count from 1, the header included.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import msgspec
import polars as pl

from model.data.context import HOMEPAGE
from model.data.dataset import check_entities, infer_columns, write_dataset
from model.data.dataset_errors import (
    MAX_REJECTED,
    UNREADABLE,
    DatasetError,
    FileFormatError,
    MissingFileError,
    Rejected,
    hold_limit,
    shown,
)
from model.data.dataset_files import write_rejected
from model.data.event_table import EVENT_SCHEMA, EXTRA_PREFIXES, check_events, conform
from model.data.parts import UNSEEN_SHARE, assign_parts

LIST_MARK = "|"
SECONDS_BELOW, MILLISECONDS_BELOW, MICROSECONDS_BELOW = 1e11, 1e14, 1e17

Convert = Callable[[object], object]
Row = dict[str, object]


@dataclass
class Table:
    """A file as cells by column; `lines` says where each row was, `rejected` what could not be read."""

    file: str
    columns: dict[str, list[object]]
    lines: list[int]
    rejected: list[Rejected] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Rows of the file, rejected ones included."""
        return len(self.lines) + len({bad.line for bad in self.rejected})


def import_tables(
    out: Path,
    entities: Path,
    events: Path,
    mapping: Mapping[str, str],
    max_rejected: float = MAX_REJECTED,
    name: str | None = None,
    task: str = HOMEPAGE,
    unseen: bool = False,
    progress: Callable[[str], None] = lambda message: None,
) -> dict[str, int]:
    """Write a dataset to `out` and return its counts: entities, events, rejected.

    Without a column `task` every event is of `task`; without `label` it is 1.0; without `ranking_id` each row
    is its own ranking; without `part` parts are assigned (`unseen` also holds entities back from search).
    Raises `DatasetError` where a file cannot be used or over `max_rejected` of a table's rows were rejected;
    `rejected.jsonl` is written first.
    """
    progress(f"reading {entities.name} and {events.name}")
    tables = {"entities": read_table(entities), "events": read_table(events)}
    _refuse_unmapped(mapping, tables)
    rejected: list[Rejected] = []
    try:
        rows, columns = _entities(tables["entities"], mapping, max_rejected, rejected)
        known = [row["entity_id"] for row in rows]
        frame = _events(_with_defaults(tables["events"], mapping, task), known, max_rejected, rejected)
    finally:
        write_rejected(out, rejected)
    frame = assign_parts(frame, UNSEEN_SHARE if unseen else 0.0)
    progress(f"writing {len(rows)} entities and {frame.height} events")
    write_dataset(out, name or out.name, rows, frame, {}, rejected, columns)
    return {"entities": len(rows), "events": frame.height, "rejected": len(rejected)}


# ── files → cells ───────────────────────────────────────────────────────────────────────────────────────────


def read_table(file: Path) -> Table:
    """Read a file by its suffix. Raises `DatasetError` where it is missing or of another kind."""
    readers: dict[str, Callable[[Path], Table]] = {
        ".csv": lambda path: _read_csv(path, ","),
        ".tsv": lambda path: _read_csv(path, "\t"),
        ".parquet": _read_parquet,
        ".jsonl": _read_json_lines,
        ".ndjson": _read_json_lines,
    }
    if not file.is_file():
        raise MissingFileError(f"{file}: expected a file, found nothing")
    if file.suffix not in readers:
        raise FileFormatError(f"{file.name}: expected one of {', '.join(readers)}, got {shown(file.suffix)}")
    return readers[file.suffix](file)


def _read_csv(file: Path, separator: str) -> Table:
    """Cells as strings, an empty one as None. A row of another length than the header is rejected."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, delimiter=separator)
            names = next(reader, [])
            numbered = [(reader.line_num, row) for row in reader if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise FileFormatError(f"{file.name}: expected a table in UTF-8: {error}") from error
    good = [(line, row) for line, row in numbered if len(row) == len(names)]
    bad = [
        Rejected(file.name, line, None, f"expected {len(names)} fields, got {len(row)}")
        for line, row in numbered
        if len(row) != len(names)
    ]
    columns: dict[str, list[object]] = {n: [row[i] or None for _, row in good] for i, n in enumerate(names)}
    return Table(file.name, columns, [line for line, _ in good], bad)


def _read_json_lines(file: Path) -> Table:
    decoder = msgspec.json.Decoder(Row)
    rows, lines, bad = [], [], []
    for number, line in enumerate(file.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            rows.append(decoder.decode(line))
            lines.append(number)
        except UNREADABLE:
            reason = f"expected one JSON object, got {shown(line.decode(errors='replace'))}"
            bad.append(Rejected(file.name, number, None, reason))
    names = dict.fromkeys(name for row in rows for name in row)
    return Table(file.name, {name: [row.get(name) for row in rows] for name in names}, lines, bad)


def _read_parquet(file: Path) -> Table:
    try:
        frame = pl.read_parquet(file)
    except (pl.exceptions.PolarsError, OSError) as error:
        first = (str(error).splitlines() or ["unreadable"])[0]
        raise FileFormatError(f"{file.name}: expected a Parquet file: {first}") from error
    return Table(file.name, frame.to_dict(as_series=False), list(range(1, frame.height + 1)))


# ── names ───────────────────────────────────────────────────────────────────────────────────────────────────


def renamed(columns: Mapping[str, list[object]], table: str, mapping: Mapping[str, str]) -> dict[str, list[object]]:
    """The columns under their mapped names. A mapped column replaces one that has the target's name."""
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


def _refuse_unmapped(mapping: Mapping[str, str], tables: Mapping[str, Table]) -> None:
    """Refuse a mapping whose column no table has."""
    for target, column in mapping.items():
        wanted = _table_of(target)
        asked = [table for name, table in tables.items() if wanted in (None, name)]
        if not any(column in table.columns for table in asked):
            where = " or ".join(table.file for table in asked)
            raise DatasetError(f"map {target}={column}: expected a column of {where}, found none named {column}")


def _needed(columns: Mapping[str, object], names: Iterable[str], file: str) -> None:
    for name in names:
        if name not in columns:
            have = ", ".join(columns) or "no columns"
            raise FileFormatError(f"{file}, column {name}: expected it or a map {name}=COLUMN, found {have}")


# ── entities ────────────────────────────────────────────────────────────────────────────────────────────────


def _entities(
    table: Table, mapping: Mapping[str, str], limit: float, rejected: list[Rejected]
) -> tuple[list[Row], dict[str, str]]:
    """Checked entities and their column types. What is rejected is added to `rejected`, held to the limit."""
    columns = renamed(table.columns, "entities", mapping)
    _needed(columns, ("entity_id", "display_name"), table.file)
    first = {name: [_id(cell) for cell in columns.pop(name)] for name in ("entity_id", "display_name")}
    cells = {**first, **{name: attribute(values) for name, values in columns.items()}}
    rows = [dict(zip(cells, row, strict=True)) for row in zip(*cells.values(), strict=True)]
    types = infer_columns(rows)
    good, bad = check_entities(zip(table.lines, rows, strict=True), table.file, types)
    bad = sorted([*table.rejected, *bad], key=lambda one: one.line)
    rejected += bad
    hold_limit(bad, table.rows, limit)
    return good, types


def attribute(cells: Sequence[object]) -> list[object]:
    """A column of attribute values, typed.

    Strings become numbers where all of them are, lists where more than half of them hold `|`; else they stay.
    """
    filled = [cell for cell in cells if cell is not None]
    if not filled or not all(isinstance(cell, str) for cell in filled):
        return [_plain(cell) for cell in cells]
    numbers = [_number_or_none(cell) for cell in filled]
    if None not in numbers:
        return [_number_or_none(cell) for cell in cells]
    if 2 * sum(LIST_MARK in str(cell) for cell in filled) > len(filled):
        return [_split(cell) for cell in cells]
    return list(cells)


def _plain(cell: object) -> object:
    """A cell of a typed file as text, list or number: booleans are 0 and 1, a list loses its nulls."""
    if isinstance(cell, bool):
        return int(cell)
    if isinstance(cell, list):
        return [item for item in cell if item is not None]
    if isinstance(cell, float) and math.isnan(cell):
        return None
    return cell if cell is None or isinstance(cell, (str, int, float, dict)) else str(cell)


def _split(cell: object) -> list[str] | None:
    if cell is None:
        return None
    return [item.strip() for item in str(cell).split(LIST_MARK) if item.strip()]


def _id(cell: object) -> object:
    """An id or name: whole numbers become their digits."""
    if isinstance(cell, bool) or not isinstance(cell, (int, float)):
        return cell
    return str(int(cell)) if float(cell).is_integer() else str(cell)


# ── events ──────────────────────────────────────────────────────────────────────────────────────────────────


def _with_defaults(table: Table, mapping: Mapping[str, str], task: str) -> Table:
    """The event columns of the contract under their names; task, label and ranking_id filled where absent."""
    columns = renamed(table.columns, "events", mapping)
    _needed(columns, ("entity_id",), table.file)
    columns.setdefault("task", [task] * len(table.lines))
    columns.setdefault("label", [1.0] * len(table.lines))
    columns.setdefault("ranking_id", [f"row-{line}" for line in table.lines])
    kept = {n: cells for n, cells in columns.items() if n in EVENT_SCHEMA or n.startswith(EXTRA_PREFIXES)}
    return Table(table.file, kept, table.lines, table.rejected)


def _events(table: Table, known: Iterable[object], limit: float, rejected: list[Rejected]) -> pl.DataFrame:
    """Checked events. What is rejected is added to `rejected`, and held to the limit."""
    bad: dict[int, Rejected] = {}
    series = [pl.Series("line", table.lines, dtype=pl.Int64)]
    for name, cells in table.columns.items():
        series.append(_event_series(table, name, cells, bad))
    frame = pl.DataFrame(series)
    typed = frame.filter(~pl.col("line").is_in(list(bad)))
    good, broken = check_events(conform(typed).with_columns(typed["line"]), table.file, known)
    found = sorted([*table.rejected, *bad.values(), *broken], key=lambda one: one.line)
    rejected += found
    hold_limit(found, table.rows, limit)
    return good


def _event_series(table: Table, name: str, cells: Sequence[object], bad: dict[int, Rejected]) -> pl.Series:
    """One converted column; rows with a cell that cannot be converted are noted in `bad`, once."""
    if name not in EVENT_SCHEMA:
        return pl.Series(name, _extra(cells), strict=False)
    expected, convert = _converter(name, cells)
    out: list[object] = []
    for line, cell in zip(table.lines, cells, strict=True):
        value = convert(cell)
        if value is None and cell is not None:
            reason = f"expected {expected}, got {shown(cell)}"
            bad.setdefault(line, Rejected(table.file, line, name, reason))
        out.append(value)
    return pl.Series(name, out, dtype=EVENT_SCHEMA[name])


def _converter(name: str, cells: Sequence[object]) -> tuple[str, Convert]:
    """What a column of the contract expects, and a function cell → value or None."""
    if name == "timestamp":
        scale = time_scale(cells)
        return "a time (ISO 8601, s or ms)", lambda cell: to_milliseconds(cell, scale)
    if name == "label":
        return "a number", _number_or_none
    if name == "position":
        return "a whole number", _whole_or_none
    return "a string", lambda cell: text if isinstance(text := _id(cell), str) else None


def _extra(cells: Sequence[object]) -> list[object]:
    """A `context.*` or `candidate.*` column: numbers where every cell is one, else text."""
    numbers = [_number_or_none(cell) for cell in cells]
    if all(number is not None for number, cell in zip(numbers, cells, strict=True) if cell is not None):
        return list(numbers)
    return [None if cell is None else str(cell) for cell in cells]


def _number_or_none(cell: object) -> float | int | None:
    """A finite number from a number or its text; NaN and infinities are none."""
    if isinstance(cell, (bool, int)):
        return int(cell)
    try:
        number = float(str(cell))
    except ValueError:
        return None
    if not math.isfinite(number) or "_" in str(cell):
        return None
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _whole_or_none(cell: object) -> int | None:
    number = _number_or_none(cell)
    return number if isinstance(number, int) and abs(number) < 2**63 else None


def time_scale(cells: Iterable[object]) -> float:
    """Factor from a column's numbers to ms, by their median size: s below 1e11, ms below 1e14, µs, ns.

    >>> time_scale([1_700_000_000]), time_scale(["1700000000000"]), time_scale(["2024-01-01"])
    (1000.0, 1.0, 1.0)
    """
    numbers = [abs(number) for cell in cells if (number := _number_or_none(cell)) is not None]
    size = median(numbers) if numbers else SECONDS_BELOW
    if size < SECONDS_BELOW:
        return 1e3
    if size < MILLISECONDS_BELOW:
        return 1.0
    return 1e-3 if size < MICROSECONDS_BELOW else 1e-6


def to_milliseconds(cell: object, scale: float) -> int | None:
    """Ms since 1970 from a number times `scale`, an ISO 8601 text or a datetime (UTC where no zone is given).

    >>> to_milliseconds("1970-01-01T00:00:01Z", 1.0), to_milliseconds("2", 1e3), to_milliseconds("soon", 1.0)
    (1000, 2000, None)
    """
    number = _number_or_none(cell)
    if number is not None:
        moment = round(number * scale)
        return moment if abs(moment) < 2**63 else None
    try:
        when = cell if isinstance(cell, datetime) else datetime.fromisoformat(str(cell))
    except ValueError:
        return None
    return round((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000)
