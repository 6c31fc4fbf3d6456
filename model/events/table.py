"""The event table of a dataset: its columns, reading it from a file, and rejecting invalid rows with a reason."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec
import polars as pl

from model.datasets.errors import (
    UNREADABLE,
    FileFormatError,
    Rejected,
    hold_limit,
    lines,
    shown,
    why_not_object,
)

PARTS = ("train", "validation", "test")
EVENT_SCHEMA: dict[str, Any] = {
    "ranking_id": pl.String,
    "timestamp": pl.Int64,
    "task": pl.String,
    "user_id": pl.String,
    "query": pl.String,
    "country": pl.String,
    "source_entity_id": pl.String,
    "entity_id": pl.String,
    "position": pl.Int64,
    "label": pl.Float64,
    "part": pl.String,
    "slice": pl.String,
}
REQUIRED = ("ranking_id", "task", "entity_id", "label")
EXTRA_PREFIXES = ("context.", "candidate.")
_ROWS_AT_ONCE = 200_000
_LINE = "line"  # column of the line number while a file is being checked


def conform(events: pl.DataFrame) -> pl.DataFrame:
    """The same rows with the columns of `EVENT_SCHEMA`, then the extra ones; absent columns become null."""
    extras = sorted(name for name in events.columns if name.startswith(EXTRA_PREFIXES))
    contract = [
        pl.col(name).cast(dtype) if name in events.columns else pl.lit(None, dtype=dtype).alias(name)
        for name, dtype in EVENT_SCHEMA.items()
    ]
    return events.select(*contract, *extras)


def check_events(events: pl.DataFrame, file: str, known: Iterable[object]) -> tuple[pl.DataFrame, list[Rejected]]:
    """Split rows into valid and rejected ones by their values.

    `events` has conforming columns and may have a column `line` (else rows count from 1). `known` = the
    entity ids that rows may use.
    """
    if _LINE not in events.columns:
        events = events.with_row_index(_LINE, offset=1)
    catalogue = pl.Series("known", list(known), dtype=pl.String).implode()
    rules = _value_rules(catalogue)
    bad = pl.coalesce(pl.when(broken.fill_null(True)).then(pl.lit(rule)) for rule, (_, broken) in rules.items())
    marked = events.with_columns(bad.alias("broken_rule"))
    rejected = [
        _rejection(file, row, row["broken_rule"], rules[row["broken_rule"]][0])
        for row in marked.filter(pl.col("broken_rule").is_not_null()).iter_rows(named=True)
    ]
    return marked.filter(pl.col("broken_rule").is_null()).drop("broken_rule", _LINE), rejected


def _value_rules(catalogue: pl.Series) -> dict[str, tuple[str, pl.Expr]]:
    """Rule `column:n` → a description of valid values, and an expression: true or null where a row is invalid."""

    def optional(name: str, good: pl.Expr) -> pl.Expr:
        return pl.col(name).is_not_null() & ~good

    known = pl.lit(catalogue)
    non_empty = "a string that is not empty"
    return {
        **{f"{name}:1": (non_empty, pl.col(name).str.len_bytes() == 0) for name in ("ranking_id", "task", "entity_id")},
        **{
            f"{name}:1": (non_empty, optional(name, pl.col(name).str.len_bytes() > 0))
            for name in ("user_id", "country", "source_entity_id")
        },
        "entity_id:2": ("the id of a known entity", ~pl.col("entity_id").is_in(known)),
        "source_entity_id:2": (
            "the id of a known entity",
            optional("source_entity_id", pl.col("source_entity_id").is_in(known)),
        ),
        "position:1": ("a place from 1 on", optional("position", pl.col("position") >= 1)),
        "label:1": ("a finite number", ~pl.col("label").is_finite()),
        "label:2": ("a number that is not negative", pl.col("label") < 0),
        "part:1": ("train, validation or test", optional("part", pl.col("part").is_in(PARTS))),
    }


def _rejection(file: str, row: Mapping[str, object], rule: str, expected: str) -> Rejected:
    column = rule.split(":")[0]
    return Rejected(file, int(str(row[_LINE])), column, f"expected {expected}, got {shown(row[column])}")


def read_events(file: Path, known: Iterable[object], limit: float) -> tuple[pl.DataFrame, list[Rejected]]:
    """Read and check a Parquet or JSON lines file. Raises `FileFormatError` and `TooManyRejectedError`."""
    if file.suffix == ".parquet":
        frame, untyped = _typed(read_parquet(file), file.name), list[Rejected]()
    else:
        frame, untyped = _read_event_lines(file)
    total = frame.height + len(untyped)
    events, rejected = check_events(frame, file.name, known)
    rejected = sorted([*untyped, *rejected], key=lambda bad: bad.line)
    hold_limit(rejected, total, limit)
    return events, rejected


def read_parquet(file: Path) -> pl.DataFrame:
    """Read a Parquet file. Raises `FileFormatError` where it is none."""
    try:
        return pl.read_parquet(file, glob=False)  # the path may contain glob characters such as [x]
    except (pl.exceptions.PolarsError, OSError) as error:
        raise FileFormatError(f"{file.name}: expected a Parquet file: {str(error).splitlines()[0]}") from error


def _typed(frame: pl.DataFrame, file: str) -> pl.DataFrame:
    """A frame from Parquet with the columns and types of `EVENT_SCHEMA`, and `line`. Raises `FileFormatError`."""
    for name in frame.columns:
        _refuse_unknown(name, file)
    for name in REQUIRED:
        if name not in frame.columns:
            raise FileFormatError(f"{file}, column {name}: expected this column, found {', '.join(frame.columns)}")
    for name, dtype in frame.schema.items():
        expected = EVENT_SCHEMA.get(name, pl.String if dtype == pl.String else pl.Float64)
        if not (dtype == pl.Null or dtype == expected or (dtype.is_numeric() and expected != pl.String)):
            raise FileFormatError(f"{file}, column {name}: expected {expected}, got {dtype}")
    extras = [pl.col(n).cast(pl.Float64) for n, t in frame.schema.items() if n not in EVENT_SCHEMA and t.is_numeric()]
    return conform(frame.with_columns(extras)).with_row_index(_LINE, offset=1)


def _refuse_unknown(name: str, file: str) -> None:
    if name not in EVENT_SCHEMA and not name.startswith(EXTRA_PREFIXES):
        expected = "a column of the contract, context.* or candidate.*"
        raise FileFormatError(f"{file}, column {name}: expected {expected}, got an unknown name")


_INT64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]  # the range of an Int64 column


_FIELDS: list[tuple[str, Any, Any]] = [
    ("ranking_id", str, msgspec.NODEFAULT),
    ("timestamp", _INT64 | None, None),
    ("task", str, msgspec.NODEFAULT),
    ("user_id", str | None, None),
    ("query", str | None, None),
    ("country", str | None, None),
    ("source_entity_id", str | None, None),
    ("entity_id", str, msgspec.NODEFAULT),
    ("position", _INT64 | None, None),
    ("label", float, msgspec.NODEFAULT),
    ("part", str | None, None),
    ("slice", str | None, None),
]


_EXPECTED = {
    str: "a string",
    _INT64 | None: "a whole number or null",
    str | None: "a string or null",
    float: "a number",
}


def _line_decoder(extras: Sequence[str]) -> msgspec.json.Decoder[Any]:
    """A decoder of one event line. `extras` are additional columns; their fields are named x0, x1, …"""
    fields = [*_FIELDS, *((f"x{i}", str | float | None, None) for i in range(len(extras)))]
    rename = {f"x{i}": name for i, name in enumerate(extras)}
    row: Any = msgspec.defstruct("EventLine", fields, kw_only=True, rename=rename, forbid_unknown_fields=True, gc=False)
    return msgspec.json.Decoder(row)


def _read_event_lines(file: Path) -> tuple[pl.DataFrame, list[Rejected]]:
    """Events of a JSON lines file, with column `line`. Checks types only; values are checked later."""
    extras: list[str] = []
    decoder = _line_decoder(extras)
    table, rejected = _Columns(), list[Rejected]()
    for number, line in lines(file):
        try:
            row = decoder.decode(line)
        except UNREADABLE:
            if new := _new_extras(line, extras, file.name):
                extras += new
                decoder = _line_decoder(extras)
            try:
                row = decoder.decode(line)
            except UNREADABLE:
                rejected.append(Rejected(file.name, number, *_why_not_event(line)))
                continue
        table.add(number, row)
    return table.to_frame(file.name, extras, rejected), rejected


def _new_extras(line: bytes, extras: Sequence[str], file: str) -> list[str]:
    """New extra columns of a line. Raises `FileFormatError` on a name that is not allowed."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return []
    names = [name for name in row if name not in EVENT_SCHEMA] if isinstance(row, dict) else []
    for name in names:
        _refuse_unknown(name, file)
    return [name for name in names if name not in extras]


def _why_not_event(line: bytes) -> tuple[str | None, str]:
    """Column and reason why a line does not decode as an event."""
    column, reason = why_not_object(line)
    if column is not None or not reason.startswith("expected plain JSON"):
        return column, reason
    row = json.loads(line)
    for name, kind, _ in _FIELDS:
        if name not in row and name in REQUIRED:
            return name, f"expected {_EXPECTED[kind]}, got nothing"
        if name in row and not _decodes(row[name], kind):
            return name, f"expected {_EXPECTED[kind]}, got {shown(row[name])}"
    for name, value in row.items():
        if name not in EVENT_SCHEMA and not _decodes(value, str | float | None):
            return name, f"expected a string, a number or null, got {shown(value)}"
    return None, reason


def _decodes(value: object, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
        str(value).encode()  # a lone surrogate has no UTF-8
    except (msgspec.ValidationError, UnicodeEncodeError):
        return False
    return True


@dataclass
class _Columns:
    """Decoded rows, converted to columns every `_ROWS_AT_ONCE` rows: row objects take ten times the memory."""

    numbers: list[int] = field(default_factory=list)
    rows: list[Any] = field(default_factory=list)
    frames: list[pl.DataFrame] = field(default_factory=list)
    extras: dict[str, list[object]] = field(default_factory=dict)

    def add(self, number: int, row: Any) -> None:
        """Append one row, from line `number`."""
        self.numbers.append(number)
        self.rows.append(row)
        if len(self.rows) == _ROWS_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        series = [pl.Series(_LINE, self.numbers, dtype=pl.Int64)]
        for name, dtype in EVENT_SCHEMA.items():
            series.append(pl.Series(name, [getattr(row, name) for row in self.rows], dtype=dtype))
        before = sum(frame.height for frame in self.frames)
        for field_name in {
            name for row in self.rows[-1:] for name in row.__struct_fields__ if name not in EVENT_SCHEMA
        }:
            kept = self.extras.setdefault(field_name, [None] * before)
            kept.extend(getattr(row, field_name, None) for row in self.rows)
        self.frames.append(pl.DataFrame(series))
        self.numbers, self.rows = [], []

    def to_frame(self, file: str, extras: Sequence[str], rejected: list[Rejected]) -> pl.DataFrame:
        """All rows as a frame. In an extra column of mixed types, rows of the rarer type are appended to `rejected`."""
        self._flush()
        frame = pl.concat(self.frames)
        mixed: dict[int, Rejected] = {}
        numbers = frame[_LINE].to_list() if extras else []
        series = [
            _extra_series(file, name, self.extras.get(f"x{index}", [None] * frame.height), numbers, mixed)
            for name, index in sorted((name, index) for index, name in enumerate(extras))
        ]
        rejected.extend(mixed.values())
        return frame.with_columns(series).filter(~pl.col(_LINE).is_in(list(mixed)))


def _extra_series(
    file: str, name: str, values: Sequence[object], numbers: Sequence[int], mixed: dict[int, Rejected]
) -> pl.Series:
    texts = sum(isinstance(value, str) for value in values)
    expected_type: type = str if 2 * texts >= sum(value is not None for value in values) else float
    kept: list[object] = []
    for number, value in zip(numbers, values, strict=True):
        valid = value is None or isinstance(value, expected_type)
        if not valid:
            expected = "a string" if expected_type is str else "a number"
            mixed[number] = Rejected(file, number, name, f"expected {expected}, got {shown(value)}")
        kept.append(value if valid else None)
    return pl.Series(name, kept, dtype=pl.String if expected_type is str else pl.Float64)
