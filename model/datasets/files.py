"""The files of a dataset folder: their names, how rows are written to them, and how the folder is replaced at once.

Checks nothing: `dataset.py` and `model/events/table.py` check rows.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

import msgspec
import polars as pl

from model.datasets.atomic_writes import folder_written_atomically
from model.datasets.errors import Rejected
from model.events.table import EVENT_SCHEMA

ABOUT = "dataset.json"
REJECTED = "rejected.jsonl"
_OURS = {ABOUT, *(f"{stem}{kind}" for stem in ("entities", "events", "rejected") for kind in (".jsonl", ".parquet"))}
_LEFT_OUT_WHEN_NULL = ("part", "slice")


@contextmanager
def dataset_written_atomically(path: Path) -> Iterator[Path]:
    """An empty folder to write a dataset in, which replaces `path` at the end of the block.

    If the block raises, `path` stays unchanged. Files that do not belong to a dataset are kept. Raises `OSError`
    with one sentence if the disk is full.
    """
    with folder_written_atomically(path, lambda name: name in _OURS) as building, polars_errors_of_disk():
        yield building


@contextmanager
def polars_errors_of_disk() -> Iterator[None]:
    """Raise the `OSError` that Polars reports only in the text of its error, as on a full disk."""
    try:
        yield
    except pl.exceptions.PolarsError as error:
        if (code := re.search(r"os error (\d+)", str(error))) is None:
            raise
        raise OSError(int(code[1]), str(error)) from error
    except OSError as error:
        if error.errno is not None or (code := re.search(r"os error (\d+)", str(error))) is None:
            raise
        raise OSError(int(code[1]), str(error)) from error


def write_about(folder: Path, about: Mapping[str, object]) -> None:
    """Write `dataset.json`. It is written last: only with it is the folder a dataset."""
    (folder / ABOUT).write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_rejected(path: Path, rejected: Sequence[Rejected]) -> None:
    """Write `rejected.jsonl` of the folder: file, line, column, reason of each. No rows, no file."""
    if rejected:
        path.mkdir(parents=True, exist_ok=True)
        write_rows(path / REJECTED, (asdict(bad) for bad in rejected))


def rejected_lines(rejected: Iterable[Rejected]) -> bytes:
    """The content of `rejected.jsonl`."""
    return b"".join(msgspec.json.encode(asdict(bad)) + b"\n" for bad in rejected)


def write_rows(file: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """Write rows as JSON lines."""
    encode = msgspec.json.Encoder().encode
    with file.open("wb") as stream:
        stream.writelines(encode(row) + b"\n" for row in rows)


def write_events(stream: BinaryIO, events: pl.DataFrame) -> None:
    """Append event rows as JSON lines; null is written in the required columns, left out in all others.

    Polars writes the rows unless an optional column is null in some rows only.
    """
    optional = [name for name in events.columns if name not in EVENT_SCHEMA or name in _LEFT_OUT_WHEN_NULL]
    nulls = {name: events[name].null_count() for name in optional}
    if any(0 < count < events.height for count in nulls.values()):
        encode = msgspec.json.Encoder().encode
        stream.writelines(encode(row) + b"\n" for row in _explicit_rows(events, set(optional)))
        return
    buffer = io.BytesIO()
    events.drop([name for name, count in nulls.items() if count]).write_ndjson(buffer)
    stream.write(buffer.getbuffer())


def _explicit_rows(events: pl.DataFrame, optional: set[str]) -> Iterator[dict[str, object]]:
    for row in events.iter_rows(named=True):
        yield {name: value for name, value in row.items() if value is not None or name not in optional}
