"""What every table reader yields, batches of cells with their lines, and the options for reading."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import polars as pl

from model.datasets.errors import FileFormatError, Rejected

NULL_WORDS = ("NULL", "null", "NaN", "nan", "None", "\\N", "NA", "N/A", "<NA>")
Say = Callable[[str], None]


@dataclass(frozen=True)
class ReadOptions:
    """Options for reading tables. None = detected from the file.

    `null` = words that mean an absent value, besides the empty cell. `drop` = columns to leave out.
    """

    encoding: str | None = None
    delimiter: str | None = None
    quote: str | None = None
    decimal: str = "."
    null: tuple[str, ...] = NULL_WORDS
    drop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise `FileFormatError` if an option is invalid."""
        if self.decimal not in (".", ","):
            raise FileFormatError(f"--decimal: expected . or , got {self.decimal}")
        for name, mark in (("--delimiter", self.delimiter), ("--quote", self.quote)):
            if mark and (len(mark) != 1 or not mark.isascii() or mark.isalnum() or mark in "\r\n"):
                raise FileFormatError(f"{name}: expected one sign, got {mark}")


@dataclass
class Batch:
    """Some rows of a file: cells by column, the line of each row, and rows that could not be read."""

    columns: dict[str, pl.Series | list[object]]
    lines: list[int]
    rejected: list[Rejected] = field(default_factory=list)
    undecodable: int = 0  # of the rejected rows, those that are not UTF-8

    @property
    def rows(self) -> int:
        """Number of rows, rejected ones included."""
        return len(self.lines) + len(self.rejected)


@dataclass
class TableFile:
    """A table that is read in batches. `columns` is None if only reading the whole table gives them."""

    file: str
    columns: list[str] | None
    batches: Iterator[Batch]


def checked_header(cells: Sequence[str], file: str, drop: Sequence[str], warn: Say) -> list[str]:
    """Column names, stripped; an unnamed column gets "" and is left out by the reader.

    Raises `FileFormatError` if a name occurs twice.
    """
    names = [cell.strip() for cell in cells]
    seen: dict[str, int] = {}
    for place, name in enumerate(names, start=1):
        if name and name not in drop and name in seen:
            raise FileFormatError(f"{file}: expected each column once, got {name} as columns {seen[name]} and {place}")
        seen[name] = place
    if unnamed := names.count(""):
        warn(f"{file}: {unnamed} columns without a name are left out")
    return ["" if name in drop else name for name in names]
