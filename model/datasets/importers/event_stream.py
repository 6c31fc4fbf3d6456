"""Events of any table → `events.jsonl`, in batches: typed, checked and spooled, then written with time and part.

The unit of numeric times, the type of extra columns and the parts depend on all rows: the first pass spools
checked rows to Parquet beside the dataset, the second writes. Memory holds 27 bytes a row and one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from model.datasets.errors import Rejected, shown
from model.datasets.files import write_events
from model.datasets.importers.cells import as_texts, labels, numbers, same_id
from model.datasets.importers.streamed_parts import RowKeys
from model.datasets.importers.table_batches import Batch, ReadOptions, Say
from model.datasets.importers.times import EARLIEST, LATEST, SMALL, TimeUnits, in_milliseconds, text_times
from model.events.table import EVENT_SCHEMA, EXTRA_PREFIXES, PARTS, check_events, conform

IDS = ("ranking_id", "user_id", "source_entity_id", "entity_id")
NEVER_NULL_WORDS = ("entity_id", "label")  # an id may be any word; a label has no unknown
NAMIBIA = "NA"  # a country, where it is a null word elsewhere
_RAW = "raw time"  # spooled beside `timestamp` while the unit is open


@dataclass
class EventStream:
    """Takes batches with `add`, then writes them with `write`. `task` fills rows without one."""

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
        """The state that is not given."""
        self._keys = RowKeys(self.alone)
        self._spooled: list[Path] = []
        self._times: list[NDArray[np.float64]] = []  # ms, or a number of an open unit; NaN where unknown
        self._numeric: list[NDArray[np.bool_]] = []  # which of them are of an open unit
        self._lines: list[NDArray[np.uint32]] = []
        self._catalogue = pl.Series("known", list(self.known), dtype=pl.String)

    # ── first pass ──────────────────────────────────────────────────────────────────────────────────────────

    def add(self, batch: Batch) -> None:
        """Check one batch, whose columns have their names of the contract."""
        self.rows += batch.rows
        self.undecodable += batch.undecodable
        bad: dict[int, Rejected] = {}
        line = pl.Series("line", batch.lines, dtype=pl.Int64)
        columns = [line, *self._typed(batch, line, bad)]
        typed = pl.DataFrame(columns)
        if bad:
            typed = typed.filter(~pl.col("line").is_in(list(bad)))
        raw = typed[_RAW]
        shaped = conform(typed.drop(_RAW)).with_columns(typed["line"], raw)
        good, broken = check_events(shaped.with_columns(kept_line=pl.col("line")), self.file, self._catalogue)
        self.rejected += sorted([*batch.rejected, *bad.values(), *broken], key=lambda one: one.line)
        self._keep(good.rename({"kept_line": "line"}))

    def _keep(self, good: pl.DataFrame) -> None:
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

    def _typed(self, batch: Batch, line: pl.Series, bad: dict[int, Rejected]) -> Iterator[pl.Series]:
        """Columns of the contract and extra ones; a row with a cell that cannot be converted is noted once."""
        height = len(line)
        yield from self._filled(set(batch.columns), line)
        if "timestamp" not in batch.columns:
            yield pl.Series(_RAW, [None], dtype=pl.Float64).new_from_index(0, height)
        for name, cells in batch.columns.items():
            if name not in EVENT_SCHEMA and not name.startswith(EXTRA_PREFIXES):
                continue
            texts, odd = as_texts(name, cells)
            texts = self._without_nulls(name, texts)
            for place, cell in odd.items():
                bad.setdefault(line[place], self._bad(line[place], name, _expected(name), cell))
            if name == "timestamp":
                yield from self._times_of(texts, line, bad)
            else:
                yield self._column(name, texts, line, bad)

    def _filled(self, given: set[str], line: pl.Series) -> Iterator[pl.Series]:
        for name, value in {"task": self.task, "label": 1.0}.items():
            if name not in given:
                yield pl.Series(name, [value], dtype=EVENT_SCHEMA[name]).new_from_index(0, len(line))
        if "ranking_id" not in given:
            yield _own_rankings(line)

    def _without_nulls(self, name: str, texts: pl.Series) -> pl.Series:
        words = [word for word in self.options.null if not (name == "country" and word == NAMIBIA)]
        absent = texts == ""
        if name not in NEVER_NULL_WORDS:
            absent = absent | texts.is_in(words)
        return texts.set(absent.fill_null(False), None)

    def _column(self, name: str, texts: pl.Series, line: pl.Series, bad: dict[int, Rejected]) -> pl.Series:
        if name.startswith(EXTRA_PREFIXES):
            self.extras[name] = None
            if numbers(texts, self.options.decimal).null_count() > texts.null_count():
                self.texts.add(name)
            return texts
        values = self._values(name, texts)
        for place in (values.is_null() & texts.is_not_null()).arg_true():
            bad.setdefault(line[place], self._bad(line[place], name, _expected(name), texts[place]))
        return self._defaults(name, values, line).alias(name)

    def _values(self, name: str, texts: pl.Series) -> pl.Series:
        if name == "label":
            return labels(texts, self.options.decimal)
        if name == "position":
            found = numbers(texts, self.options.decimal)
            return found.set(((found != found.floor()) | (found.abs() >= 2**53)).fill_null(False), None).cast(pl.Int64)
        if name in IDS and texts.str.contains(r"\.0+$").any():
            return pl.Series(name, [same_id(cell) for cell in texts], dtype=pl.String)
        return texts

    def _defaults(self, name: str, values: pl.Series, line: pl.Series) -> pl.Series:
        """What fills a column that is empty in part."""
        if name == "ranking_id":
            return values.zip_with(values.is_not_null(), _own_rankings(line))
        return values.fill_null({"task": self.task, "label": 1.0}[name]) if name in ("task", "label") else values

    def _times_of(self, texts: pl.Series, line: pl.Series, bad: dict[int, Rejected]) -> Iterator[pl.Series]:
        """`timestamp` in ms from texts, and the numbers whose unit is told by all of them."""
        raw = numbers(texts, self.options.decimal)
        raw = raw.set((raw.abs() >= 2**63).fill_null(False), None)
        written = text_times(texts.set(raw.is_not_null(), None))
        for place in (raw.is_null() & written.is_null() & texts.is_not_null()).arg_true():
            bad.setdefault(line[place], self._bad(line[place], "timestamp", _expected("timestamp"), texts[place]))
        yield written.alias("timestamp")
        yield raw.alias(_RAW)

    def _bad(self, line: int, name: str, expected: str, cell: object) -> Rejected:
        hint = "" if self.options.decimal == "," or not _has_decimal_comma(name, cell) else " (see --decimal)"
        return Rejected(self.file, line, name, f"expected {expected}, got {shown(cell)}{hint}")

    # ── between the passes ──────────────────────────────────────────────────────────────────────────────────

    def settle_times(self) -> None:
        """Decide the unit of numeric times; rows of another unit are set aside."""
        unit = self.units.unit
        kept = []
        for times, numeric, lines in zip(self._times, self._numeric, self._lines, strict=True):
            mixed = numeric & self.units.mixed(times)
            for place in np.flatnonzero(mixed).tolist():
                reason = f"expected a time in {unit} as most of the column has, got {times[place]:.0f}"
                self.rejected.append(Rejected(self.file, int(lines[place]), "timestamp", reason))
            times[numeric] = in_milliseconds(times[numeric], unit)
            kept.append(~mixed)
        self.rejected.sort(key=lambda one: one.line)
        self._kept = np.concatenate(kept) if kept else np.zeros(0, np.bool_)
        if unit in SMALL:
            self.warn(f"{self.file}, column timestamp: its numbers are read as {unit}")
        self._warn_of_implausible(kept)

    def _warn_of_implausible(self, kept: Sequence[NDArray[np.bool_]]) -> None:
        found, first = 0, ""
        for times, good, lines in zip(self._times, kept, self._lines, strict=True):
            odd = np.flatnonzero(good & ((times < EARLIEST) | (times > LATEST)))
            found += len(odd)
            if len(odd) and not first:
                first = f"{_day(float(times[odd[0]]))} on line {lines[odd[0]]}"
        if found:
            self.warn(f"{self.file}, column timestamp: {found:,} times are outside 1990 to 2100, the first {first}")

    # ── second pass ─────────────────────────────────────────────────────────────────────────────────────────

    def write(self, file: Path, told: Callable[[int], None] = lambda rows: None) -> int:
        """Write the kept rows as JSON lines and return their number; `told` hears how many there are so far."""
        times, has_time = self._whole_times()
        ranks = self._keys.ranks_of_rows(times, has_time, self._kept) if len(times) else np.zeros(0, np.int8)
        row = kept_row = 0
        with file.open("wb") as stream:
            for spooled in self._spooled:
                frame = pl.read_parquet(spooled, glob=False)
                kept = self._kept[row : row + frame.height]
                here = slice(row, row + frame.height)
                stamped = frame.with_columns(
                    pl.Series("timestamp", times[here]).set(pl.Series(~has_time[here]), None)
                ).filter(pl.Series(kept))
                decided = pl.Series("decided", ranks[kept_row : kept_row + stamped.height])
                write_events(stream, self._finished(stamped, decided))
                row, kept_row = row + frame.height, kept_row + stamped.height
                spooled.unlink()
                told(kept_row)
        return kept_row

    def _whole_times(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Ms of all rows (0 where unknown), and which are known. The batches are given up one by one."""
        times = np.zeros(len(self._kept), np.int64)
        known = np.zeros(len(self._kept), np.bool_)
        row = 0
        for batch in self._times:
            here = slice(row, row + len(batch))
            known[here] = ~np.isnan(batch)
            times[here] = np.where(known[here], batch, 0)
            row += len(batch)
        self._times.clear()
        return times, known

    def _finished(self, frame: pl.DataFrame, ranks: pl.Series) -> pl.DataFrame:
        """All extra columns with the type that all rows agree on, and `part` filled."""
        parts = ranks.replace_strict(list(range(len(PARTS))), list(PARTS), return_dtype=pl.String)
        extras = [self._extra(frame, name) for name in self.extras]
        return conform(frame.with_columns(pl.coalesce("part", parts.alias("decided")).alias("part"), *extras))

    def _extra(self, frame: pl.DataFrame, name: str) -> pl.Series:
        if name not in frame.columns:
            return pl.Series(name, [None], dtype=pl.String).new_from_index(0, frame.height)
        return frame[name] if name in self.texts else numbers(frame[name], self.options.decimal).alias(name)


def _own_rankings(line: pl.Series) -> pl.Series:
    return ("row-" + line.cast(pl.String)).alias("ranking_id")


def _day(ms: float) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d}" if abs(ms) < 6e13 else f"{ms:.0f} ms"


def _expected(name: str) -> str:
    return {"timestamp": "a time (ISO 8601, s or ms)", "label": "a number", "position": "a whole number"}.get(
        name, "a string"
    )


def _has_decimal_comma(name: str, cell: object) -> bool:
    return name in ("label", "position", "timestamp") and isinstance(cell, str) and "," in cell
