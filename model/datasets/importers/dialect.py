"""The dialect of delimited text: its delimiter, quote and header, and a strict csv reader for it."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from model.datasets.errors import FileFormatError, shown
from model.datasets.importers.table_batches import ReadOptions

DELIMITERS = (",", ";", "\t", "|")
LARGEST_FIELD = 2**31 - 1  # characters; the csv module's own limit is 131,072
NOT_UTF8 = "expected text in UTF-8, got other bytes; --encoding names another encoding"


@dataclass(frozen=True, slots=True)
class Dialect:
    """Delimiter and quote ("" = none)."""

    delimiter: str
    quote: str


def detect_dialect(first: bytes, file: Path, options: ReadOptions) -> Dialect:
    """The dialect by option, else by the header and the rows that match it. With tabs, quotes are not special."""
    lines = first[: 2**16].decode(errors="replace").splitlines(keepends=True)[:50]
    wanted = options.delimiter
    if wanted and wanted not in lines[0] and any(mark in lines[0] for mark in DELIMITERS):
        wanted = None  # the option is meant for the other table
    delimiter = wanted or _declared_delimiter(lines[0]) or _most_consistent_delimiter(lines)
    quote = options.quote if options.quote is not None else ("" if delimiter == "\t" else '"')
    return Dialect(delimiter, quote)


def _declared_delimiter(line: str) -> str | None:
    """The delimiter that Excel declares in a first line such as `sep=;`, or None."""
    return line[4] if re.fullmatch(r"sep=.\s*", line, re.IGNORECASE) else None


def _most_consistent_delimiter(lines: Sequence[str]) -> str:
    """The delimiter for which most rows have as many fields as the header; among equals, the one with more fields."""

    def agreement(delimiter: str) -> tuple[float, int]:
        rows = [row for row in csv.reader(lines, delimiter=delimiter) if row]
        width = len(rows[0]) if rows else 0
        return (sum(len(row) == width for row in rows) / len(rows), width) if width > 1 else (0.0, 0)

    return max(DELIMITERS, key=agreement)


def header_of(lines: Sequence[bytes], dialect: Dialect, file: Path) -> tuple[list[str], int]:
    """Cells of the header, and the number of lines up to its end."""
    feed = Feed([line.decode(errors="replace") for line in lines[:100]])
    reader = csv_reader(feed, dialect)
    try:
        header = next(row for row in reader if "".join(row).strip() and row[0].lower() != "sep=")
    except (csv.Error, StopIteration) as error:
        raise FileFormatError(f"{file.name}: expected a header of column names, got {shown(str(error))}") from error
    return header, feed.at


class Feed:
    """Lines for the csv module from `at` to `stop`; `ran_out` once the module requested more."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.lines, self.at, self.stop, self.ran_out = lines, 0, len(lines), False

    def __iter__(self) -> Feed:
        return self

    def __next__(self) -> str:
        if self.at >= self.stop:
            self.ran_out = True
            raise StopIteration
        self.at += 1
        return self.lines[self.at - 1]


def csv_reader(feed: Feed, dialect: Dialect) -> Iterator[list[str]]:
    """A strict reader of the lines of `feed`."""
    csv.field_size_limit(LARGEST_FIELD)
    if not dialect.quote:
        return csv.reader(feed, delimiter=dialect.delimiter, quoting=csv.QUOTE_NONE, strict=True)
    return csv.reader(feed, delimiter=dialect.delimiter, quotechar=dialect.quote, strict=True)


def refuse_other_encoding(first: bytes, file: Path) -> None:
    """Raise `FileFormatError` if the header or half of the first lines is not UTF-8: the encoding is another."""
    if b"\0" in first.splitlines()[0]:
        raise FileFormatError(f"{file.name}: expected text, found NUL bytes; --encoding utf-16-le may be meant")
    lines = first.splitlines()[:101]
    bad = [number for number, line in enumerate(lines, start=1) if not is_utf8(line)]
    if bad and (bad[0] == 1 or 2 * len(bad) >= len(lines)):
        raise FileFormatError(f"{file.name} line {bad[0]}: {NOT_UTF8}")


def is_utf8(data: bytes) -> bool:
    """Whether bytes are UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
