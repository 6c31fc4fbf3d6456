"""Timestamps in common notations → ms since 1970. All numbers of a column have one unit, inferred from their size."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from statistics import median

import numpy as np
import polars as pl
from numpy.typing import NDArray

from model.datasets.importers.cells import number_or_none

SECONDS_BELOW, MILLISECONDS_BELOW, MICROSECONDS_BELOW = 1e11, 1e14, 1e17
DAY_MS = 86_400_000
EXCEL_1970 = 25_569  # the serial number of 1970-01-01, counted from 1 = 1900-01-01
EARLIEST, LATEST = 631_152_000_000, 4_102_444_800_000  # 1990 and 2100: outside, a time is implausible
UNITS = {"s": 1e3, "ms": 1.0, "µs": 1e-3, "ns": 1e-6}  # → ms
SMALL = ("years", "dates as YYYYMMDD", "Excel days")
NAMES = ("", *UNITS, *SMALL)  # by code; "" = 0 and numbers too small to decide
SMALLEST_SECONDS = 1e8  # 1973; the unit of a smaller number is uncertain

Floats = NDArray[np.float64]


def time_scale(cells: Iterable[object]) -> float:
    """Factor from a column's numbers to ms, by their median size: s below 1e11, ms below 1e14, µs, ns.

    >>> time_scale([1_700_000_000]), time_scale(["1700000000000"]), time_scale(["2024-01-01"])
    (1000.0, 1.0, 1.0)
    """
    sizes = [abs(number) for cell in cells if (number := number_or_none(cell)) is not None]
    size = median(sizes) if sizes else SECONDS_BELOW
    return UNITS[NAMES[int(units_of(np.array([max(size, SMALLEST_SECONDS)]))[0])]]


def to_milliseconds(cell: object, scale: float) -> int | None:
    """Ms since 1970 from a number times `scale`, an ISO 8601 text or a datetime (UTC if no zone is given).

    >>> to_milliseconds("1970-01-01T00:00:01Z", 1.0), to_milliseconds("2", 1e3), to_milliseconds("soon", 1.0)
    (1000, 2000, None)
    """
    number = number_or_none(cell)
    if number is not None:
        moment = round(number * scale)
        return moment if abs(moment) < 2**63 else None
    return text_time(cell)


def text_time(cell: object) -> int | None:
    """Ms since 1970 from an ISO 8601 text, also with ` UTC`, ` GMT` or a blank before its offset, or a datetime.

    >>> text_time("1970-01-02 00:00:00 UTC"), text_time("1970-01-01 02:00:00 +02:00"), text_time("1/2/2013")
    (86400000, 0, None)
    """
    if isinstance(cell, date) and not isinstance(cell, datetime):
        cell = cell.isoformat()
    text = re.sub(
        r"\s*(?:UTC|GMT|Z)$|\s+(?=[+-]\d\d:?\d\d$)", lambda m: "+00:00" if m[0].strip() else "", str(cell).strip()
    )
    try:
        when = cell if isinstance(cell, datetime) else datetime.fromisoformat(text)
    except ValueError:
        return None
    return round((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000)


def text_times(cells: pl.Series) -> pl.Series:
    """A column of texts as ms, null if a cell is not a time. Each distinct text is parsed once."""
    distinct = cells.drop_nulls().unique()
    table = pl.DataFrame({"text": distinct, "ms": pl.Series([text_time(cell) for cell in distinct], dtype=pl.Int64)})
    return cells.to_frame("text").join(table, on="text", how="left", maintain_order="left")["ms"]


# ── the unit of a column ────────────────────────────────────────────────────────────────────────────────────


def units_of(values: Floats) -> NDArray[np.int8]:
    """The likely unit of each number [n], as a code of NAMES."""
    size = np.abs(values)
    codes = np.zeros(len(values), np.int8)
    for code, start in enumerate((SMALLEST_SECONDS, SECONDS_BELOW, MILLISECONDS_BELOW, MICROSECONDS_BELOW), start=1):
        codes[size >= start] = code
    integral = values == np.floor(values)
    plausible = integral & (values >= 19_000_101) & (values <= 21_001_231)
    digits = np.where(plausible, values, 19_000_101).astype(np.int64)
    is_date = plausible & (_date_digits(_days_of(digits)) == digits)
    years = integral & (values >= 1900) & (values <= 2100)
    excel = (values >= 20_000) & (values <= 80_000)
    for name, matches in zip(SMALL, (years, is_date, excel), strict=True):
        codes[matches] = NAMES.index(name)
    return codes


@dataclass
class TimeUnits:
    """Counts the likely units of the numbers of a column, batch by batch."""

    counts: dict[str, int] = field(default_factory=dict)

    def add(self, values: Floats) -> None:
        """`values` [n] without NaN."""
        for code, count in enumerate(np.bincount(units_of(values[values != 0]), minlength=len(NAMES)).tolist()):
            if count:
                self.counts[NAMES[code]] = self.counts.get(NAMES[code], 0) + count

    @property
    def unit(self) -> str:
        """The most frequent of UNITS; without any, the one of SMALL that fits nine of ten numbers; else s."""
        large = {name: count for name, count in self.counts.items() if name in UNITS}
        if large:
            return max(large, key=lambda name: large[name])
        commonest = max(self.counts, key=lambda name: self.counts[name], default="")
        return commonest if commonest in SMALL and self.counts[commonest] >= 0.9 * sum(self.counts.values()) else "s"

    def mixed(self, values: Floats) -> NDArray[np.bool_]:
        """Which numbers [n] (NaN = none) have another unit than the column; numbers too small to decide do not."""
        codes = units_of(values)
        others = (codes >= 1) & (codes <= len(UNITS)) if self.unit in UNITS else ~np.isnan(values)
        return np.asarray(others & (codes != NAMES.index(self.unit)), np.bool_)


def in_milliseconds(values: Floats, unit: str) -> Floats:
    """Numbers of one unit → ms since 1970.

    >>> in_milliseconds(np.array([1971.0]), "years").tolist()
    [31536000000.0]
    >>> in_milliseconds(np.array([25570.5]), "Excel days").tolist()
    [129600000.0]
    """
    if unit in UNITS:
        return np.round(values * UNITS[unit])
    if unit == "Excel days":
        return np.round((values - EXCEL_1970) * DAY_MS)
    integers = values.astype(np.int64)
    return np.asarray(_days_of(integers * 10_000 + 101 if unit == "years" else integers) * DAY_MS, np.float64)


def _days_of(digits: NDArray[np.int64]) -> NDArray[np.int64]:
    """YYYYMMDD [n] → days since 1970; a day beyond the end of its month rolls over."""
    months = (digits // 10_000 - 1970) * 12 + digits // 100 % 100 - 1
    return np.asarray(
        months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) + digits % 100 - 1, np.int64
    )


def _date_digits(days: NDArray[np.int64]) -> NDArray[np.int64]:
    """Days since 1970 [n] → YYYYMMDD."""
    months = days.astype("datetime64[D]").astype("datetime64[M]")
    number = months.astype(np.int64)
    day = days - months.astype("datetime64[D]").astype(np.int64) + 1
    return np.asarray((1970 + number // 12) * 10_000 + (number % 12 + 1) * 100 + day, np.int64)
