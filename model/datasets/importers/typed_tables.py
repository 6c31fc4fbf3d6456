"""JSON lines, JSON arrays and Parquet → batches of typed cells."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import msgspec
import polars as pl

from model.datasets.errors import UNREADABLE, FileFormatError, Rejected, shown
from model.datasets.importers.table_batches import Batch, ReadOptions, TableFile
from model.datasets.importers.text_files import Share, text_blocks

ROWS = 200_000  # per Parquet batch
Row = dict[str, object]


def open_json(file: Path, options: ReadOptions, share: Share) -> TableFile:
    """One object per line, or one array of objects (which is held in memory). Nested objects become columns `a.b`.

    Raises `DatasetError` if the file is empty.
    """
    blocks = text_blocks(file, options.encoding, share)
    first = next((block for block in blocks if block.strip()), b"")
    if not first:
        raise FileFormatError(f"{file.name}: expected JSON objects, found an empty file")
    if first.lstrip().startswith(b"["):
        data = b"".join([first, *blocks])
        if (array := _read_array(file, data)) is not None:
            return TableFile(file.name, None, _array_batches(file.name, data, array, options))
        blocks = iter([data])
        first = b""
    return TableFile(file.name, None, _line_batches(file.name, chain([first], blocks), options))


def _read_array(file: Path, data: bytes) -> list[msgspec.Raw] | None:
    """The elements, or None if the first line does not open an array. Raises `FileFormatError` for a broken array."""
    try:
        return msgspec.json.decode(data, type=list[msgspec.Raw])
    except UNREADABLE as error:
        first = data.lstrip().splitlines()[0].replace(b" ", b"")
        if first != b"[" and not first.startswith(b"[{"):
            return None
        raise FileFormatError(f"{file.name}: expected a JSON array or one object a line: {error}") from error


def _array_batches(file: str, data: bytes, array: list[msgspec.Raw], options: ReadOptions) -> Iterator[Batch]:
    """One batch; the line of an element is the line where its text starts."""
    numbered, place, line = [], 0, 1
    for raw in array:
        text = bytes(raw)
        start = data.index(text, place)
        line += data.count(b"\n", place, start)
        numbered.append((line, text))
        line += text.count(b"\n")
        place = start + len(text)
    yield _decode_batch(file, numbered, options)


def _line_batches(file: str, blocks: Iterator[bytes], options: ReadOptions) -> Iterator[Batch]:
    number = 0
    for block in blocks:
        lines = block.splitlines()
        numbered = [(place, line) for place, line in enumerate(lines, start=number + 1) if line.strip()]
        number += len(lines)
        yield _decode_batch(file, numbered, options)


def _decode_batch(file: str, numbered: list[tuple[int, bytes]], options: ReadOptions) -> Batch:
    decoder = msgspec.json.Decoder(Row)
    rows, batch = [], Batch({}, [])
    for number, line in numbered:
        try:
            rows.append(flat(decoder.decode(line)))
            batch.lines.append(number)
        except UNREADABLE:
            reason = f"expected one JSON object, got {shown(line.decode(errors='replace'))}"
            batch.rejected.append(Rejected(file, number, None, reason))
    names = dict.fromkeys(name for row in rows for name in row)
    batch.columns = {name: [row.get(name) for row in rows] for name in names if not _is_dropped(name, options.drop)}
    return batch


def flat(row: Row) -> Row:
    """Objects inside a row as columns `a.b`.

    >>> flat({"a": {"b": 1, "c": {"d": 2}}, "e": [3]})
    {'a.b': 1, 'a.c.d': 2, 'e': [3]}
    """
    if not any(isinstance(value, dict) for value in row.values()):
        return row
    flattened: Row = {}
    for name, value in row.items():
        if isinstance(value, dict):
            flattened |= flat({f"{name}.{key}": inner for key, inner in value.items()})
        else:
            flattened[name] = value
    return flattened


def _is_dropped(name: str, drop: tuple[str, ...]) -> bool:
    return any(name == dropped or name.startswith(f"{dropped}.") for dropped in drop)


# ── Parquet ─────────────────────────────────────────────────────────────────────────────────────────────────


def open_parquet(file: Path, options: ReadOptions, share: Share) -> TableFile:
    """Rows count from 1; structs become columns `a.b`. Raises `DatasetError` if the file is not Parquet."""
    try:
        frame = pl.scan_parquet(file, glob=False)
        schema = frame.collect_schema()
        rows = frame.select(pl.len()).collect().item()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _not_parquet(file, error) from error
    columns = [column for name, kind in schema.items() for column in _leaves(pl.col(name), name, kind)]
    kept = {name: column for name, column in columns if not _is_dropped(name, options.drop)}
    wanted = frame.select(column.alias(name) for name, column in kept.items())
    return TableFile(file.name, list(kept), _parquet_batches(file, wanted, rows, share))


def _leaves(column: pl.Expr, name: str, kind: object) -> Iterator[tuple[str, pl.Expr]]:
    """A column, or the fields of a struct as columns of their own."""
    if not isinstance(kind, pl.Struct):
        yield name, column
        return
    for field in kind.fields:
        yield from _leaves(column.struct.field(field.name), f"{name}.{field.name}", field.dtype)


def _parquet_batches(file: Path, frame: pl.LazyFrame, rows: int, share: Share) -> Iterator[Batch]:
    for start in range(0, rows, ROWS):
        try:
            part = frame.slice(start, ROWS).collect(engine="streaming")
        except (pl.exceptions.PolarsError, OSError) as error:
            raise _not_parquet(file, error) from error
        share(min(1.0, (start + ROWS) / rows))
        columns: dict[str, pl.Series | list[object]] = {column.name: column for column in part}
        yield Batch(columns, list(range(start + 1, start + 1 + part.height)))


def _not_parquet(file: Path, error: Exception) -> FileFormatError:
    first = re.sub(r"\s+", " ", (str(error).splitlines() or ["unreadable"])[0])
    return FileFormatError(f"{file.name}: expected a Parquet file: {first}")
