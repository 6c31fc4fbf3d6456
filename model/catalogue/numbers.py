"""Number attributes as standard scores, of any magnitude. Handles no other attributes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isnan

import numpy as np

LARGEST = 1e100  # absolute value; larger numbers are clipped to it, so that squares stay finite


@dataclass(frozen=True, slots=True)
class NumberColumn:
    """How one number becomes a standard score; `logarithm` for amounts that span orders of magnitude."""

    name: str
    logarithm: bool
    mean: float
    deviation: float

    @classmethod
    def fit(cls, name: str, values: Iterable[object]) -> NumberColumn:
        """Fit the scale of a column. Values that are not finite numbers are ignored."""
        numbers = np.array([number for value in values if (number := finite(value)) is not None], np.float64)
        if not len(numbers):
            return cls(name, False, 0.0, 1.0)
        logarithm = bool(numbers.min() >= 0 and numbers.max() > 20 * max(float(np.median(numbers)), 1e-9))
        scaled = np.log1p(numbers) if logarithm else numbers
        mean, deviation, rounding = float(scaled.mean()), float(scaled.std()), 1e-9 * float(np.abs(scaled).max())
        return cls(name, logarithm, mean, deviation if deviation > rounding else max(rounding, 1.0))

    def scale(self, value: object) -> tuple[float, float]:
        """(standard score clipped at 4, missing flag)."""
        number = finite(value)
        if number is None:
            return 0.0, 1.0
        number = float(np.log1p(max(number, 0.0))) if self.logarithm else number
        return float(np.clip((number - self.mean) / self.deviation, -4.0, 4.0)), 0.0


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
