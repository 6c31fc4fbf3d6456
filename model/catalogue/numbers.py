"""Number attributes as standard scores, of any magnitude. Handles no other attributes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isnan

import numpy as np

EARLIEST, LATEST = 1800, 2100  # years
LARGEST = 1e100  # absolute value; larger numbers are clipped to it, so that squares stay finite


@dataclass(frozen=True, slots=True)
class NumberColumn:
    """How one number becomes a standard score; `logarithm` for amounts that span orders of magnitude."""

    name: str
    logarithm: bool
    mean: float
    deviation: float
    years: bool = False  # its values are years, whose digits and decades people type

    @classmethod
    def fit(cls, name: str, values: Iterable[object]) -> NumberColumn:
        """Fit the scale of a column. Values that are not finite numbers are ignored."""
        numbers = np.array([number for value in values if (number := finite(value)) is not None], np.float64)
        if not len(numbers):
            return cls(name, False, 0.0, 1.0)
        logarithm = bool(numbers.min() >= 0 and numbers.max() > 20 * max(float(np.median(numbers)), 1e-9))
        scaled = np.log1p(numbers) if logarithm else numbers
        mean, deviation, rounding = float(scaled.mean()), float(scaled.std()), 1e-9 * float(np.abs(scaled).max())
        deviation = deviation if deviation > rounding else max(rounding, 1.0)
        return cls(name, logarithm, mean, deviation, _are_years(numbers))

    def scale(self, value: object) -> tuple[float, float]:
        """(standard score clipped at 4, missing flag)."""
        number = finite(value)
        if number is None:
            return 0.0, 1.0
        number = float(np.log1p(max(number, 0.0))) if self.logarithm else number
        return float(np.clip((number - self.mean) / self.deviation, -4.0, 4.0)), 0.0


def _are_years(numbers: np.ndarray) -> bool:
    whole = numbers == np.floor(numbers)
    return bool(
        (whole & (numbers >= EARLIEST) & (numbers <= LATEST)).mean() > 0.75
    )  # some catalogues write 0 for unknown


def year_words(value: object) -> list[str]:
    """A year and its decade as people type them; empty where `value` is no year.

    >>> year_words(1994), year_words(2010.0), year_words(12)
    (['1994', '1990s', '90s'], ['2010', '2010s', '10s'], [])
    """
    number = finite(value)
    if number is None or number != int(number) or not EARLIEST <= number <= LATEST:
        return []
    year, decade = int(number), int(number) // 10 * 10
    return [str(year), f"{decade}s", f"{decade % 100:02}s"]


def finite(value: object) -> float | None:
    """A number within ±`LARGEST`, or None for infinity, NaN, and values that are not numbers.

    >>> finite(3), finite(10**400), finite(float("inf")), finite(True), finite("3")
    (3.0, 1e+100, None, None, None)
    """
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    if isinstance(value, float) and (isnan(value) or value in (float("inf"), float("-inf"))):
        return None
    return float(min(max(value, -LARGEST), LARGEST))
