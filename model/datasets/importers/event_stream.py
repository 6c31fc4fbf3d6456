"""Events of any table → `events.jsonl`, in batches: typed, checked and spooled, then written with time and part.

The unit of numeric times, the type of extra columns and the parts depend on all rows: the first pass spools
checked rows to Parquet beside the dataset, the second writes. Memory holds 27 bytes per row and one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from model.context.context import ROW_TITLE
from model.datasets.errors import Rejected, shown
from model.datasets.files import write_events
from model.datasets.importers.cells import as_texts, labels, numbers, same_id
from model.datasets.importers.streamed_parts import RowKeys
from model.datasets.importers.table_batches import Batch, ReadOptions, Say
from model.datasets.importers.times import EARLIEST, LATEST, SMALL, TimeUnits, in_milliseconds, text_times
from model.events.table import EVENT_SCHEMA, EXTRA_PREFIXES, PARTS, check_events, conform

IDS = ("ranking_id", "user_id", "source_entity_id", "entity_id")
NEVER_NULL_WORDS = ("entity_id", "label")  # an id may be any word; a label is never unknown
NAMIBIA = "NA"  # a country code here, a null word elsewhere
_RAW = "raw time"  # spooled beside `timestamp` until the unit is known


@dataclass
class EventStream:
    """Takes batches with `add`, then writes them with `write`. `task` is the task of rows without one."""

    folder: Path
    known: Sequence[object]
    options: ReadOptions
    task: str
    alone: bool
    file: str
    warn: Say
    rejected: list[Rejected] = field(default_factory=list)
    rows: int = 0
    undecodable: int = 0
    texts: set[str] = field(default_factory=set)  # extra columns that are not numbers throughout
    extras: dict[str, None] = field(default_factory=dict)
    units: TimeUnits = field(default_factory=TimeUnits)

    def __post_init__(self) -> None:
        """Initialise the private state."""
        self._keys = RowKeys(self.alone)
        self._spooled: list[Path] = []
        self._times: list[NDArray[np.float64]] = []  # ms, or a number whose unit is not known yet; NaN = no time
        self._numeric: list[NDArray[np.bool_]] = []  # which of them have no unit yet
        self._lines: list[NDArray[np.uint32]] = []
        self._catalogue = pl.Series("known", list(self.known), dtype=pl.String)

    # ── first pass ──────────────────────────────────────────────────────────────────────────────────────────

    def add(self, batch: Batch) -> None:
        """Check one batch, whose columns already have their mapped names."""
        self.rows += batch.rows
        self.undecodable += batch.undecodable
        bad: dict[int, Rejected] = {}
        line = pl.Series("line", batch.lines, dtype=pl.Int64)
        columns = [line, *self._typed_columns(batch, line, bad)]
        typed = pl.DataFrame(columns)
        if bad:
            typed = typed.filter(~pl.col("line").is_in(list(bad)))
        raw = typed[_RAW]
        shaped = conform(typed.drop(_RAW)).with_columns(typed["line"], raw)
        good, rejected = check_events(shaped.with_columns(kept_line=pl.col("line")), self.file, self._catalogue)
        self.rejected += sorted([*batch.rejected, *bad.values(), *rejected], key=lambda row: row.line)
        self._spool(good.rename({"kept_line": "line"}))

    def _spool(self, good: pl.DataFrame) -> None:
        if good.is_empty():
            return
        self._keys.add(good, good["timestamp"].is_not_null() | good[_RAW].is_not_null())
        numeric = good[_RAW].is_not_null().to_numpy()
        self.units.add(good[_RAW].drop_nulls().to_numpy())
        self._numeric.append(numeric)
        times = good.select(pl.coalesce(pl.col("timestamp").cast(pl.Float64), _RAW).fill_null(np.nan)).to_series()
        self._times.append(times.to_numpy(writable=True))
        self._lines.append(good["line"].cast(pl.UInt32).to_numpy())
        part = self.folder / f"{len(self._spooled):06}.parquet"
        good.drop("timestamp", _RAW, "line").write_parquet(part, compression="lz4")
        self._spooled.append(part)

    def _typed_columns(self, batch: Batch, line: pl.Series, bad: dict[int, Rejected]) -> Iterator[pl.Series]:
        """Columns of `EVENT_SCHEMA` and extra ones; a row with cells that cannot be converted is rejected once."""
        height = len(line)
        yield from self._default_columns(set(batch.columns), line)
        if "timestamp" not in batch.columns:
            yield pl.Series(_RAW, [None], dtype=pl.Float64).new_from_index(0, height)
        for name, cells in batch.columns.items():
            if name not in EVENT_SCHEMA and not name.startswith(EXTRA_PREFIXES):
                continue
            texts, odd = as_texts(name, cells)
            texts = self._without_nulls(name, texts)
            for place, cell in odd.items():
                bad.setdefault(line[place], self._rejection(line[place], name, _expected_type(name), cell))
            if name == "timestamp":
                yield from self._time_columns(texts, line, bad)
            else:
                yield self._column(name, texts, line, bad)

    def _default_columns(self, given: set[str], line: pl.Series) -> Iterator[pl.Series]:
        for name, value in {"task": self.task, "label": 1.0}.items():
            if name not in given:
                yield pl.Series(name, [value], dtype=EVENT_SCHEMA[name]).new_from_index(0, len(line))
        if "ranking_id" not in given:
            yield _row_rankings(line)

    def _without_nulls(self, name: str, texts: pl.Series) -> pl.Series:
        words = [word for word in self.options.null if not (name == "country" and word == NAMIBIA)]
        absent = texts == ""
        if name not in NEVER_NULL_WORDS:
            absent = absent | texts.is_in(words)
        return texts.set(absent.fill_null(False), None)

    def _column(self, name: str, texts: pl.Series, line: pl.Series, bad: dict[int, Rejected]) -> pl.Series:
        if name.startswith(EXTRA_PREFIXES):
            self.extras[name] = None
            if name == ROW_TITLE or numbers(texts, self.options.decimal).null_count() > texts.null_count():
                self.texts.add(name)
            return texts
        values = self._values(name, texts)
        for place in (values.is_null() & texts.is_not_null()).arg_true():
            bad.setdefault(line[place], self._rejection(line[place], name, _expected_type(name), texts[place]))
        return self._with_defaults(name, values, line).alias(name)

    def _values(self, name: str, texts: pl.Series) -> pl.Series:
        if name == "label":
            return labels(texts, self.options.decimal)
        if name == "position":
            values = numbers(texts, self.options.decimal)
            return values.set(((values != values.floor()) | (values.abs() >= 2**53)).fill_null(False), None).cast(
                pl.Int64
            )
        if name in IDS and texts.str.contains(r"\.0+$").any():
            return pl.Series(name, [same_id(cell) for cell in texts], dtype=pl.String)
        return texts

    def _with_defaults(self, name: str, values: pl.Series, line: pl.Series) -> pl.Series:
        """The column with its empty cells filled by the defaults."""
        if name == "ranking_id":
            return values.zip_with(values.is_not_null(), _row_rankings(line))
        return values.fill_null({"task": self.task, "label": 1.0}[name]) if name in ("task", "label") else values

    def _time_columns(self, texts: pl.Series, line: pl.Series, bad: dict[int, Rejected]) -> Iterator[pl.Series]:
        """`timestamp` in ms from texts, and the numbers, whose unit depends on the whole column."""
        raw = numbers(texts, self.options.decimal)
        raw = raw.set((raw.abs() >= 2**63).fill_null(False), None)
        parsed = text_times(texts.set(raw.is_not_null(), None))
        for place in (raw.is_null() & parsed.is_null() & texts.is_not_null()).arg_true():
            bad.setdefault(
                line[place], self._rejection(line[place], "timestamp", _expected_type("timestamp"), texts[place])
            )
        yield parsed.alias("timestamp")
        yield raw.alias(_RAW)

    def _rejection(self, line: int, name: str, expected: str, cell: object) -> Rejected:
        hint = "" if self.options.decimal == "," or not _has_decimal_comma(name, cell) else " (see --decimal)"
        return Rejected(self.file, line, name, f"expected {expected}, got {shown(cell)}{hint}")

    # ── between the passes ──────────────────────────────────────────────────────────────────────────────────

    def settle_times(self) -> None:
        """Decide the unit of numeric times; reject rows of another unit."""
        unit = self.units.unit
        kept = []
        for times, numeric, lines in zip(self._times, self._numeric, self._lines, strict=True):
            mixed = numeric & self.units.mixed(times)
            for place in np.flatnonzero(mixed).tolist():
                reason = f"expected a time in {unit} as most of the column has, got {times[place]:.0f}"
                self.rejected.append(Rejected(self.file, int(lines[place]), "timestamp", reason))
            times[numeric] = in_milliseconds(times[numeric], unit)
            kept.append(~mixed)
        self.rejected.sort(key=lambda row: row.line)
        self._kept = np.concatenate(kept) if kept else np.zeros(0, np.bool_)
        if unit in SMALL:
            self.warn(f"{self.file}, column timestamp: its numbers are read as {unit}")
        self._warn_of_implausible(kept)

    def _warn_of_implausible(self, kept: Sequence[NDArray[np.bool_]]) -> None:
        count, first = 0, ""
        for times, good, lines in zip(self._times, kept, self._lines, strict=True):
            odd = np.flatnonzero(good & ((times < EARLIEST) | (times > LATEST)))
            count += len(odd)
            if len(odd) and not first:
                first = f"{_day(float(times[odd[0]]))} on line {lines[odd[0]]}"
        if count:
            self.warn(f"{self.file}, column timestamp: {count:,} times are outside 1990 to 2100, the first {first}")

    # ── second pass ─────────────────────────────────────────────────────────────────────────────────────────

    def write(
        self,
        file: Path,
        report: Callable[[int], None] = lambda rows: None,
        note: Callable[[pl.DataFrame], None] = lambda events: None,
    ) -> int:
        """Write the kept rows as JSON lines and return their number.

        `report` gets the number written so far, `note` each batch of rows as they are written.
        """
        times, has_time = self._all_times()
        ranks = self._keys.ranks_of_rows(times, has_time, self._kept) if len(times) else np.zeros(0, np.int8)
        row = kept_row = 0
        with file.open("wb") as stream:
            for spooled in self._spooled:
                frame = pl.read_parquet(spooled, glob=False)
                kept = self._kept[row : row + frame.height]
                batch_rows = slice(row, row + frame.height)
                stamped = frame.with_columns(
                    pl.Series("timestamp", times[batch_rows]).set(pl.Series(~has_time[batch_rows]), None)
                ).filter(pl.Series(kept))
                part_ranks = pl.Series("decided", ranks[kept_row : kept_row + stamped.height])
                events = self._with_all_columns(stamped, part_ranks)
                write_events(stream, events)
                note(events)
                row, kept_row = row + frame.height, kept_row + stamped.height
                spooled.unlink()
                report(kept_row)
        return kept_row

    def _all_times(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Ms of all rows (0 where unknown), and which are known. Frees the batches one by one."""
        times = np.zeros(len(self._kept), np.int64)
        known = np.zeros(len(self._kept), np.bool_)
        row = 0
        for batch in self._times:
            batch_rows = slice(row, row + len(batch))
            known[batch_rows] = ~np.isnan(batch)
            times[batch_rows] = np.where(known[batch_rows], batch, 0)
            row += len(batch)
        self._times.clear()
        return times, known

    def _with_all_columns(self, frame: pl.DataFrame, ranks: pl.Series) -> pl.DataFrame:
        """All extra columns with the type that fits all rows, and `part` filled."""
        parts = ranks.replace_strict(list(range(len(PARTS))), list(PARTS), return_dtype=pl.String)
        extras = [self._extra_column(frame, name) for name in self.extras]
        return conform(frame.with_columns(pl.coalesce("part", parts.alias("decided")).alias("part"), *extras))

    def _extra_column(self, frame: pl.DataFrame, name: str) -> pl.Series:
        if name not in frame.columns:
            return pl.Series(name, [None], dtype=pl.String).new_from_index(0, frame.height)
        return frame[name] if name in self.texts else numbers(frame[name], self.options.decimal).alias(name)


def _row_rankings(line: pl.Series) -> pl.Series:
    return ("row-" + line.cast(pl.String)).alias("ranking_id")


def _day(ms: float) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d}" if abs(ms) < 6e13 else f"{ms:.0f} ms"


def _expected_type(name: str) -> str:
    return {"timestamp": "a time (ISO 8601, s or ms)", "label": "a number", "position": "a whole number"}.get(
        name, "a string"
    )


def _has_decimal_comma(name: str, cell: object) -> bool:
    return name in ("label", "position", "timestamp") and isinstance(cell, str) and "," in cell
