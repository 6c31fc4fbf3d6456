"""A dataset: a folder with entities, events and `dataset.json`, read strictly and written plainly.

Bad rows are set aside with line, column and reason; only a bad file, or too many bad rows, stops a load. This
file checks and stores. It does not import foreign tables (importers/) nor decide parts (parts.py).
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec
import polars as pl

TEXT, CATEGORIES, NUMBER, IGNORE = "text", "categories", "number", "ignore"
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
MAX_REJECTED = 0.01

_EXPECTED = {TEXT: "a string", CATEGORIES: "a list of strings", NUMBER: "a finite number"}
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)  # a line that is no JSON of ours
_LINE = "line"  # column of the line number while a file is being checked

# DatasetError               the dataset cannot be used; the message is one line
# ├── MissingFileError       a folder or file is not there
# ├── FileFormatError        a file as a whole is wrong: not JSON, an unknown column, a column of wrong type
# └── TooManyRejectedError   more rows were set aside than the limit allows


class DatasetError(ValueError):
    """The dataset cannot be used. The message is one line, naming file, line and column where they exist."""


class MissingFileError(DatasetError):
    """A folder or file is not there."""


class FileFormatError(DatasetError):
    """A file as a whole is wrong."""


class TooManyRejectedError(DatasetError):
    """More rows were set aside than the limit allows."""

    def __init__(self, first: Rejected, rejected: int, rows: int, limit: float) -> None:
        super().__init__(f"{first} ({rejected} of {rows} rows rejected, the limit is {limit:.3g} of them)")


@dataclass(frozen=True, slots=True)
class Rejected:
    """One row that was set aside. `line` counts from 1; `column` None = the row as a whole."""

    file: str
    line: int
    column: str | None
    reason: str

    def __str__(self) -> str:
        column = f", column {self.column}" if self.column is not None else ""
        return f"{self.file} line {self.line}{column}: {self.reason}"


@dataclass(frozen=True)
class Dataset:
    """A checked dataset in memory.

    `columns` maps each attribute to text, categories, number or ignore. An entity holds `entity_id`,
    `display_name` and the attributes it has (an absent one is unknown). `events` has exactly the columns of
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
        """Read and check the folder `path`. Raises `DatasetError`, one line, where it cannot be used.

        `max_rejected` is the share of a file's rows that may be set aside, 0 to 1.
        """
        about = _read_about(path)
        columns, entities, bad_entities = _read_entities(_data_file(path, "entities"), about, max_rejected)
        known = [entity["entity_id"] for entity in entities]
        events, bad_events = _read_events(_data_file(path, "events"), known, max_rejected)
        name = about.pop("name", None)
        rest = {key: value for key, value in about.items() if key != "columns"}
        return cls(path, str(name or path.name), columns, entities, events, bad_entities + bad_events, rest)


# ── the folder ──────────────────────────────────────────────────────────────────────────────────────────────


def _data_file(path: Path, stem: str) -> Path:
    """`stem`.jsonl or `stem`.parquet of the folder: exactly one of them must be there."""
    found = [file for suffix in (".jsonl", ".parquet") if (file := path / f"{stem}{suffix}").is_file()]
    if not found:
        raise MissingFileError(f"{path}: expected {stem}.jsonl or {stem}.parquet, found neither")
    if len(found) > 1:
        raise FileFormatError(f"{path}: expected one of {stem}.jsonl and {stem}.parquet, found both")
    return found[0]


def _read_about(path: Path) -> dict[str, object]:
    if not path.is_dir():
        raise MissingFileError(f"{path}: expected a dataset folder, found {'a file' if path.exists() else 'nothing'}")
    file = path / "dataset.json"
    if not file.is_file():
        return {}
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, object])
    except UNREADABLE as error:
        raise FileFormatError(f"{file.name}: expected a JSON object: {error}") from error


def _lines(file: Path) -> Iterator[tuple[int, bytes]]:
    """Line number from 1 and bytes of each line that is not blank."""
    with file.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if not line.isspace():
                yield number, line


def hold_limit(rejected: Sequence[Rejected], rows: int, limit: float) -> None:
    """Raise `TooManyRejectedError` where more than `limit` (a share, 0 to 1) of the rows were rejected."""
    if len(rejected) > limit * rows:
        raise TooManyRejectedError(rejected[0], len(rejected), rows, limit)


def shown(value: object) -> str:
    """A value inside an error message: JSON, at most 40 characters."""
    try:
        text = json.dumps(value, ensure_ascii=True, default=str)
    except (ValueError, RecursionError):
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 40 else f"{text[:37]}..."


# ── entities ────────────────────────────────────────────────────────────────────────────────────────────────


def kind_of(value: object) -> str | None:
    """The column type that one attribute value has, or None where it has none (bool, object, mixed list)."""
    if isinstance(value, str):
        return TEXT
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return CATEGORIES
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return NUMBER
    return None


def infer_columns(entities: Iterable[Mapping[str, object]]) -> dict[str, str]:
    """Attribute → its most frequent type, in order of first appearance. Without any typed value: text."""
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
    fixed = _fixed_columns(about)
    inferred = infer_columns(row for _, row in rows)
    columns = fixed | {name: kind for name, kind in inferred.items() if name not in fixed}
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
    """Line number and raw row of each entity that is a JSON object, and the lines that are none."""
    if file.suffix == ".parquet":
        return list(enumerate(_read_parquet(file).to_dicts(), start=1)), []
    decoder = msgspec.json.Decoder(dict[str, object])
    rows, rejected = [], []
    for number, line in _lines(file):
        try:
            rows.append((number, decoder.decode(line)))
        except UNREADABLE:
            rejected.append(Rejected(file.name, number, *_why_not_object(line)))
    return rows, rejected


def _fixed_columns(about: Mapping[str, object]) -> dict[str, str]:
    """The column types that `dataset.json` fixes; a type outside the four is an error of that file."""
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
    """Column and reason for which an entity is rejected, or None."""
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


def _why_not_object(line: bytes) -> tuple[str | None, str]:
    """Column and reason for a line that is no JSON object of finite values."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None, f"expected one JSON object, got {shown(line.decode(errors='replace').strip())}"
    if not isinstance(row, dict):
        return None, f"expected one JSON object, got {shown(row)}"
    for name, value in row.items():
        if isinstance(value, float) and not math.isfinite(value):
            return name, f"expected a finite number, got {shown(value)}"
    return None, "expected plain JSON of UTF-8 text"


# ── events ──────────────────────────────────────────────────────────────────────────────────────────────────


def conform(events: pl.DataFrame) -> pl.DataFrame:
    """The same rows with the columns of `EVENT_SCHEMA`, then the extra ones; absent columns become null."""
    extras = sorted(name for name in events.columns if name.startswith(EXTRA_PREFIXES))
    contract = [
        pl.col(name).cast(dtype) if name in events.columns else pl.lit(None, dtype=dtype).alias(name)
        for name, dtype in EVENT_SCHEMA.items()
    ]
    return events.select(*contract, *extras)


def check_events(events: pl.DataFrame, file: str, known: Iterable[object]) -> tuple[pl.DataFrame, list[Rejected]]:
    """Split rows into good ones and rejected ones by their values.

    `events` has conforming columns and may have one named `line` (else rows count from 1). `known` = the
    entity ids that a row may name.
    """
    if _LINE not in events.columns:
        events = events.with_row_index(_LINE, offset=1)
    catalogue = pl.Series("known", list(known), dtype=pl.String).implode()
    rules = _value_rules(catalogue)
    bad = pl.coalesce(pl.when(broken.fill_null(True)).then(pl.lit(rule)) for rule, (_, broken) in rules.items())
    marked = events.with_columns(bad.alias("broken_rule"))
    rejected = [
        _rejected_by(file, row, row["broken_rule"], rules[row["broken_rule"]][0])
        for row in marked.filter(pl.col("broken_rule").is_not_null()).iter_rows(named=True)
    ]
    return marked.filter(pl.col("broken_rule").is_null()).drop("broken_rule", _LINE), rejected


def _value_rules(catalogue: pl.Series) -> dict[str, tuple[str, pl.Expr]]:
    """Rule `column:n` → what is expected, and an expression that is true (or null) where a row breaks it."""

    def optional(name: str, good: pl.Expr) -> pl.Expr:
        return pl.col(name).is_not_null() & ~good

    known = pl.lit(catalogue)
    filled = "a string that is not empty"
    return {
        **{f"{name}:1": (filled, pl.col(name).str.len_bytes() == 0) for name in ("ranking_id", "task", "entity_id")},
        **{
            f"{name}:1": (filled, optional(name, pl.col(name).str.len_bytes() > 0))
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


def _rejected_by(file: str, row: Mapping[str, object], rule: str, expected: str) -> Rejected:
    column = rule.split(":")[0]
    return Rejected(file, int(str(row[_LINE])), column, f"expected {expected}, got {shown(row[column])}")


def _read_events(file: Path, known: Iterable[object], limit: float) -> tuple[pl.DataFrame, list[Rejected]]:
    if file.suffix == ".parquet":
        frame, untyped = _typed(_read_parquet(file), file.name), list[Rejected]()
    else:
        frame, untyped = _read_event_lines(file)
    total = frame.height + len(untyped)
    events, rejected = check_events(frame, file.name, known)
    rejected = sorted([*untyped, *rejected], key=lambda bad: bad.line)
    hold_limit(rejected, total, limit)
    return events, rejected


def _read_parquet(file: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(file)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise FileFormatError(f"{file.name}: expected a Parquet file: {str(error).splitlines()[0]}") from error


def _typed(frame: pl.DataFrame, file: str) -> pl.DataFrame:
    """A frame read from Parquet with the contract's columns and types, and `line`."""
    for name in frame.columns:
        _refuse_unknown(name, file)
    for name in REQUIRED:
        if name not in frame.columns:
            raise FileFormatError(f"{file}, column {name}: expected this column, found {', '.join(frame.columns)}")
    for name, have in frame.schema.items():
        want = EVENT_SCHEMA.get(name, pl.String if have == pl.String else pl.Float64)
        if not (have == pl.Null or have == want or (have.is_numeric() and want != pl.String)):
            raise FileFormatError(f"{file}, column {name}: expected {want}, got {have}")
    extras = [pl.col(n).cast(pl.Float64) for n, t in frame.schema.items() if n not in EVENT_SCHEMA and t.is_numeric()]
    return conform(frame.with_columns(extras)).with_row_index(_LINE, offset=1)


def _refuse_unknown(name: str, file: str) -> None:
    if name not in EVENT_SCHEMA and not name.startswith(EXTRA_PREFIXES):
        expected = "a column of the contract, context.* or candidate.*"
        raise FileFormatError(f"{file}, column {name}: expected {expected}, got an unknown name")


_WHOLE = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]  # what an Int64 column holds
_FIELDS: list[tuple[str, Any, Any]] = [
    ("ranking_id", str, msgspec.NODEFAULT),
    ("timestamp", _WHOLE | None, None),
    ("task", str, msgspec.NODEFAULT),
    ("user_id", str | None, None),
    ("query", str | None, None),
    ("country", str | None, None),
    ("source_entity_id", str | None, None),
    ("entity_id", str, msgspec.NODEFAULT),
    ("position", _WHOLE | None, None),
    ("label", float, msgspec.NODEFAULT),
    ("part", str | None, None),
    ("slice", str | None, None),
]
_WANTED = {
    str: "a string",
    _WHOLE | None: "a whole number or null",
    str | None: "a string or null",
    float: "a number",
}


def _line_decoder(extras: Sequence[str]) -> msgspec.json.Decoder[Any]:
    """A decoder of one event line; `extras` are further columns, whose fields are named x0, x1, …"""
    fields = [*_FIELDS, *((f"x{i}", str | float | None, None) for i in range(len(extras)))]
    rename = {f"x{i}": name for i, name in enumerate(extras)}
    row: Any = msgspec.defstruct("EventLine", fields, kw_only=True, rename=rename, forbid_unknown_fields=True, gc=False)
    return msgspec.json.Decoder(row)


def _read_event_lines(file: Path) -> tuple[pl.DataFrame, list[Rejected]]:
    """Events of a JSON lines file by type alone (values are checked afterwards), with column `line`."""
    extras: list[str] = []
    decoder = _line_decoder(extras)
    numbers, rows, rejected = [], [], []
    for number, line in _lines(file):
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
        numbers.append(number)
        rows.append(row)
    return _to_frame(file.name, extras, numbers, rows, rejected), rejected


def _new_extras(line: bytes, extras: Sequence[str], file: str) -> list[str]:
    """Names of a line that are neither in the contract nor met before; an unknown one stops the file."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return []
    names = [name for name in row if name not in EVENT_SCHEMA] if isinstance(row, dict) else []
    for name in names:
        _refuse_unknown(name, file)
    return [name for name in names if name not in extras]


def _why_not_event(line: bytes) -> tuple[str | None, str]:
    """Column and reason for a line that does not decode as an event."""
    column, reason = _why_not_object(line)
    if column is not None or not reason.startswith("expected plain JSON"):
        return column, reason
    row = json.loads(line)
    for name, kind, _ in _FIELDS:
        if name not in row and name in REQUIRED:
            return name, f"expected {_WANTED[kind]}, got nothing"
        if name in row and not _decodes(row[name], kind):
            return name, f"expected {_WANTED[kind]}, got {shown(row[name])}"
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


def _to_frame(
    file: str, extras: Sequence[str], numbers: Sequence[int], rows: Sequence[Any], rejected: list[Rejected]
) -> pl.DataFrame:
    """Columns from decoded rows. Rows with the rarer type of a mixed extra column go to `rejected`."""
    series = [pl.Series(_LINE, numbers, dtype=pl.Int64)]
    for name, dtype in EVENT_SCHEMA.items():
        series.append(pl.Series(name, [getattr(row, name) for row in rows], dtype=dtype))
    mixed: dict[int, Rejected] = {}
    for name, index in sorted((name, index) for index, name in enumerate(extras)):
        values = [getattr(row, f"x{index}", None) for row in rows]
        series.append(_extra_series(file, name, values, numbers, mixed))
    rejected.extend(mixed.values())
    return pl.DataFrame(series).filter(~pl.col(_LINE).is_in(list(mixed)))


def _extra_series(
    file: str, name: str, values: Sequence[object], numbers: Sequence[int], mixed: dict[int, Rejected]
) -> pl.Series:
    texts = sum(isinstance(value, str) for value in values)
    wanted: type = str if 2 * texts >= sum(value is not None for value in values) else float
    kept: list[object] = []
    for number, value in zip(numbers, values, strict=True):
        good = value is None or isinstance(value, wanted)
        if not good:
            expected = "a string" if wanted is str else "a number"
            mixed[number] = Rejected(file, number, name, f"expected {expected}, got {shown(value)}")
        kept.append(value if good else None)
    return pl.Series(name, kept, dtype=pl.String if wanted is str else pl.Float64)


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
    """Write a dataset folder: entities, events, `dataset.json`, and `rejected.jsonl` where there are any.

    `meta` = licence, attribution and the like. `columns` fixes types and order of the attributes; without it
    they are inferred. `file_format` is jsonl or parquet; stale files of an earlier writing are removed.
    """
    path.mkdir(parents=True, exist_ok=True)
    for stem in ("entities", "events", "rejected"):
        for suffix in (".jsonl", ".parquet"):
            (path / f"{stem}{suffix}").unlink(missing_ok=True)
    events = conform(events)
    types = dict(columns) if columns is not None else infer_columns(entities)
    if file_format == "parquet":
        _entity_frame(entities, types).write_parquet(path / "entities.parquet")
        events.write_parquet(path / "events.parquet")
    else:
        _write_lines(path / "entities.jsonl", entities)
        _write_lines(path / "events.jsonl", _event_lines(events))
    write_rejected(path, rejected)
    counts = {"entities": len(entities), "events": events.height, "rejected": len(rejected)}
    about = {"name": name, **meta, "columns": types, "counts": counts}
    (path / "dataset.json").write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_rejected(path: Path, rejected: Sequence[Rejected]) -> None:
    """Write `rejected.jsonl` of the folder: file, line, column, reason of each. Without any, no file."""
    if rejected:
        path.mkdir(parents=True, exist_ok=True)
        _write_lines(path / "rejected.jsonl", (asdict(bad) for bad in rejected))


def _entity_frame(entities: Sequence[Mapping[str, object]], columns: Mapping[str, str]) -> pl.DataFrame:
    types: dict[str, pl.DataType] = {
        TEXT: pl.String(),
        CATEGORIES: pl.List(pl.String()),
        NUMBER: pl.Float64(),
    }
    schema: dict[str, pl.DataType] = {"entity_id": pl.String(), "display_name": pl.String()}
    schema |= {name: types[kind] for name, kind in columns.items() if kind in types}
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in entities], schema=schema)


def _event_lines(events: pl.DataFrame) -> Iterator[dict[str, object]]:
    """Rows as dicts; null is explicit in the contract's columns, left out of part, slice and extra ones."""
    explicit = set(EVENT_SCHEMA) - {"part", "slice"}
    for row in events.iter_rows(named=True):
        yield {name: value for name, value in row.items() if value is not None or name in explicit}


def _write_lines(file: Path, rows: Iterable[Mapping[str, object]]) -> None:
    encode: Callable[[object], bytes] = msgspec.json.Encoder().encode
    with file.open("wb") as stream:
        stream.writelines(encode(row) + b"\n" for row in rows)
