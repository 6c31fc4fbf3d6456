"""Delimited text (CSV, TSV, …) → batches of text cells with line numbers; only damaged rows are rejected.

Polars reads blocks without quotes; the csv module reads blocks with quotes, strictly, record by record. A quoted
field may span many lines (RFC 4180). Its opening quote counts as stray, and only its line is rejected, if the
field is not closed properly or if the lines that it would span are rows of the table (`_swallows_rows`). A quote
inside a field is an ordinary character.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import polars as pl

from model.datasets.errors import FileFormatError, Rejected, shown
from model.datasets.importers.dialect import (
    NOT_UTF8,
    Dialect,
    Feed,
    csv_reader,
    detect_dialect,
    header_of,
    is_utf8,
    refuse_other_encoding,
)
from model.datasets.importers.table_batches import Batch, ReadOptions, Say, TableFile, checked_header
from model.datasets.importers.text_files import Share, text_blocks

MOST_LINES, MOST_BYTES = 10_000, 16 * 2**20  # of one quoted field
SAMPLE = 500  # lines from which numeric columns are detected
SWALLOWED = 8  # rows within a quoted field that make its quote stray, if no column is numeric
_NUMBER = re.compile(r"[+-]?[\d.,]*\d[\d.,]*(?:[eE][+-]?\d+)?")


def open_delimited(file: Path, options: ReadOptions, warn: Say, share: Share) -> TableFile:
    """The table of a delimited file; its batches have columns of strings, an empty cell being null.

    Raises `DatasetError` if the file is empty or its header cannot be used.
    """
    blocks = text_blocks(file, options.encoding, share)
    first = next((block for block in blocks if block.strip()), b"")
    if not first:
        raise FileFormatError(f"{file.name}: expected a table, found an empty file")
    refuse_other_encoding(first, file)
    dialect = detect_dialect(first, file, options)
    lines = first.splitlines(keepends=True)
    header, used = header_of(lines, dialect, file)
    names = checked_header(header, file.name, options.drop, warn)
    reader = _Reader(file.name, dialect, names, warn, next_line=used + 1)
    batches = reader.batches(chain([b"".join(lines[used:])], blocks))
    return TableFile(file.name, [name for name in names if name], batches)


# ── records ─────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class _Reader:
    """Blocks → batches. `pending` = lines of a record whose quote has not closed yet."""

    file: str
    dialect: Dialect
    names: Sequence[str]
    warn: Say
    next_line: int
    pending: bytes = b""
    long_fields: int = 0
    records: int = 0
    first_long: str = ""
    numeric: list[int] = field(default_factory=list)

    def batches(self, blocks: Iterator[bytes]) -> Iterator[Batch]:
        """One batch per block; at the end a warning if records span several lines."""
        blocks = (block for block in blocks if block)
        ahead = next(blocks, b"")
        first_line = self.next_line
        while ahead or self.pending:
            block, ahead = self.pending + ahead, next(blocks, b"")
            self.pending = b""
            batch = self._read_block(block, last=not ahead)
            self.records += batch.rows
            yield batch
        if self.long_fields:
            lines = self.next_line - first_line
            self.warn(
                f"{self.file}: {lines:,} lines hold {self.records:,} records, as {self.long_fields:,} of them run over "
                f"several lines in a quoted field, the first {self.first_long}"
            )

    def _read_block(self, block: bytes, last: bool) -> Batch:
        quote = self.dialect.quote.encode()
        if quote and quote in block:
            return self._read_quoted(block, last)
        return self._read_plain(block)

    def _read_plain(self, block: bytes) -> Batch:
        """Each line is a row; Polars reads those with the right number of fields."""
        lines = block.splitlines()
        start, self.next_line = self.next_line, self.next_line + len(lines)
        all_utf8 = is_utf8(block)
        delimiter, wanted = self.dialect.delimiter.encode(), len(self.names) - 1
        numbers, good, bad, undecodable = [], [], [], 0
        for number, line in enumerate(lines, start=start):
            if not line:
                continue
            count = line.count(delimiter)
            if not all_utf8 and not is_utf8(line):
                undecodable += 1
                bad.append(Rejected(self.file, number, None, NOT_UTF8))
            elif count != wanted:
                bad.append(Rejected(self.file, number, None, f"expected {wanted + 1} fields, got {count + 1}"))
            else:
                numbers.append(number)
                good.append(line)
        return Batch(self._split_lines(good), numbers, bad, undecodable)

    def _split_lines(self, lines: list[bytes]) -> dict[str, pl.Series | list[object]]:
        if not lines:
            return {name: pl.Series(name, [], dtype=pl.String) for name in self.names if name}
        frame = pl.read_csv(
            codecs.BOM_UTF8 + b"\n".join(lines),  # Polars removes one mark, and the first cell may begin with its own
            has_header=False,
            separator=self.dialect.delimiter,
            quote_char=None,
            schema={f"c{place}": pl.String for place in range(len(self.names))},
        )
        return {name: frame[f"c{place}"].alias(name) for place, name in enumerate(self.names) if name}

    def _read_quoted(self, block: bytes, last: bool) -> Batch:
        lines = [line.decode(errors="surrogateescape") for line in block.splitlines(keepends=True)]
        feed = Feed(lines)
        reader = csv_reader(feed, self.dialect)
        start = self.next_line
        self.numeric = self._numeric_columns(lines)
        rows: list[list[str]] = []
        batch = Batch({}, [])
        while feed.at < len(lines):
            begin = feed.at
            if not lines[begin].rstrip("\r\n"):
                feed.at += 1
                continue
            feed.stop, feed.ran_out = min(len(lines), begin + MOST_LINES), False
            try:
                row, problem = next(reader), ""
            except (csv.Error, StopIteration) as error:
                row, problem = [], str(error)
            if problem and feed.ran_out and feed.stop == len(lines) and not last:
                self.pending = "".join(lines[begin:]).encode(errors="surrogateescape")
                if len(self.pending) < MOST_BYTES:
                    feed.at = begin
                    break
                self.pending = b""
            self._accept_or_reject(lines[begin : feed.at], start + begin, row, problem, rows, batch, feed, begin)
        self.next_line = start + feed.at
        cells = list(zip(*rows, strict=True)) if rows else [()] * len(self.names)
        for name, column in zip(self.names, cells, strict=True):
            if name:
                batch.columns[name] = pl.Series(name, [cell or None for cell in column], dtype=pl.String)
        return batch

    def _accept_or_reject(
        self, record: list[str], line: int, row: list[str], problem: str, rows: list[list[str]], batch: Batch,
        feed: Feed, begin: int,
    ) -> None:  # fmt: skip
        """Keep a record, reject it, or reject only its first line and continue on the next."""
        end = line + len(record) - 1
        if not problem and len(row) == len(self.names) and not self._swallows_rows(record):
            if not all(_is_valid_utf8(part) for part in record):
                batch.undecodable += 1
                batch.rejected.append(Rejected(self.file, line, None, NOT_UTF8))
                return
            rows.append(row)
            batch.lines.append(line)
            if len(record) > 1:
                self.long_fields += 1
                self.first_long = self.first_long or f"on lines {line} to {end}"
        elif not problem and len(row) != len(self.names) and not any(map(self._is_row, record[1:])):
            several = f" in a record that runs to line {end}" if len(record) > 1 else ""
            reason = f"expected {len(self.names)} fields, got {len(row)}{several}"
            batch.rejected.append(Rejected(self.file, line, None, reason))
        else:
            feed.at = begin + 1
            batch.rejected.append(Rejected(self.file, line, None, self._why_stray(record, line, problem, feed)))

    def _why_stray(self, record: list[str], line: int, problem: str, feed: Feed) -> str:
        got = shown(record[0].rstrip("\r\n"))
        if feed.ran_out:
            return f"expected every quote to close, got one that never does in {got}"
        if problem and len(record) == 1:
            return f"expected a delimiter behind a closing quote, got {got}"
        return f"expected a quote to close in its field, got one that would run to line {line + len(record) - 1}: {got}"

    # ── stray quotes ────────────────────────────────────────────────────────────────────────────────────────

    def _is_row(self, line: str) -> bool:
        """Whether a line by itself is a row, with numbers in the numeric columns."""
        try:
            cells = next(csv_reader(Feed([line]), self.dialect), [])
        except csv.Error:
            return False
        return len(cells) == len(self.names) and self._numbers_fit(cells)

    def _numbers_fit(self, cells: Sequence[str]) -> bool:
        return all(not cells[place] or _NUMBER.fullmatch(cells[place].strip()) for place in self.numeric)

    def _swallows_rows(self, record: list[str]) -> bool:
        """Whether a quoted field over several lines consists of rows of the table, between two stray quotes.

        Then each line by itself has the table's number of fields, with numbers in the numeric columns. Text may
        look so by chance: without numeric columns, many such lines are needed.
        """
        if len(record) < 2:
            return False
        ends = [line.rstrip("\r\n").split(self.dialect.delimiter) for line in (record[0], record[-1])]
        if not all(len(cells) == len(self.names) and self._numbers_fit(cells) for cells in ends):
            return False
        required = 0 if len(self.numeric) > 1 and len(self.names) > 2 else SWALLOWED
        return len(record) - 2 >= required and all(map(self._is_row, record[1:-1]))

    def _numeric_columns(self, lines: Sequence[str]) -> list[int]:
        """Indices of the columns that are numbers in nine of ten sampled lines with a cell there."""
        wanted, delimiter = len(self.names), self.dialect.delimiter
        quoteless = (line.rstrip("\r\n").split(delimiter) for line in lines if self.dialect.quote not in line)
        sample = [cells for cells, _ in zip((c for c in quoteless if len(c) == wanted), range(SAMPLE), strict=False)]
        numeric = []
        for place in range(wanted):
            cells = [row[place] for row in sample if row[place]]
            if len(cells) > 1 and sum(bool(_NUMBER.fullmatch(cell.strip())) for cell in cells) >= 0.9 * len(cells):
                numeric.append(place)
        return numeric


def _is_valid_utf8(line: str) -> bool:
    """Whether a line decoded with surrogate escapes contains none."""
    try:
        line.encode()
    except UnicodeEncodeError:
        return False
    return True
