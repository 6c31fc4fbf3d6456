"""Errors of datasets: the exception hierarchy, rejected rows, and how a message shows a value."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

MAX_REJECTED = 0.01
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)  # of a line that is not the expected JSON

# DatasetError               the dataset cannot be used; the message is one line
# ├── MissingFileError       a folder or file does not exist
# ├── FileFormatError        a file as a whole is wrong: not JSON, an unknown column, a column of wrong type
# └── TooManyRejectedError   more rows were rejected than the limit allows


class DatasetError(ValueError):
    """The dataset cannot be used. The message is one line, naming file, line and column if known."""


class MissingFileError(DatasetError):
    """A folder or file does not exist."""


class FileFormatError(DatasetError):
    """A file as a whole is wrong."""


class TooManyRejectedError(DatasetError):
    """More rows were rejected than the limit allows."""

    def __init__(self, first: Rejected, rejected: int, rows: int, limit: float, place: Path | None = None) -> None:
        self._details = (first, rejected, rows, limit)
        listing = f"; all of them are listed in {place}" if place else ""
        super().__init__(f"{first} ({rejected} of {rows} rows rejected, the limit is {limit:.3g} of them{listing})")

    def listed_in(self, place: Path) -> TooManyRejectedError:
        """The same error, naming the file that lists the rows."""
        return TooManyRejectedError(*self._details, place)


@dataclass(frozen=True, slots=True)
class Rejected:
    """One rejected row. `line` counts from 1; `column` None = the row as a whole."""

    file: str
    line: int
    column: str | None
    reason: str

    def __str__(self) -> str:
        column = f", column {self.column}" if self.column is not None else ""
        return f"{self.file} line {self.line}{column}: {self.reason}"


def lines(file: Path) -> Iterator[tuple[int, bytes]]:
    """Line number from 1 and bytes of each line that is not blank."""
    with file.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if not line.isspace():
                yield number, line


def hold_limit(rejected: Sequence[Rejected], rows: int, limit: float) -> None:
    """Raise `TooManyRejectedError` if more than `limit` (a share, 0 to 1) of the rows were rejected."""
    if len(rejected) > limit * rows:
        raise TooManyRejectedError(rejected[0], len(rejected), rows, limit)


def shown(value: object) -> str:
    """A value inside an error message: JSON, at most 40 characters."""
    try:
        text = json.dumps(value, ensure_ascii=True, default=str)
    except (ValueError, RecursionError):
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 40 else f"{text[:37]}..."


def why_not_object(line: bytes) -> tuple[str | None, str]:
    """Column and reason for rejecting a line that is not a JSON object of finite values."""
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
