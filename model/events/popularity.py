"""How often each entity was engaged with before a moment, overall and of late. Knows nothing of users.

Time is measured in events, not in days, because logs differ in how fast they grow: "of late" means among the newest
`RECENT_SHARE` of all positives until then.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
RECENT_SHARE = 0.05
FEWEST_RECENT = 200  # positives
NOW = int(np.iinfo(np.int64).max)


@dataclass(frozen=True, slots=True)
class PopularityOverTime:
    """The M positives of N entities by time; those without a time are the oldest."""

    times: Ints  # [M] rising, ms, −1 = unknown
    keys: Ints  # [M] row · (M + 1) + place in `times`, rising

    @classmethod
    def of(cls, rows: Ints, times: Ints) -> PopularityOverTime:
        """From the entity and the time of each positive. [M] each"""
        order = np.argsort(times, kind="stable")
        return cls(times[order], np.sort(rows[order] * (len(rows) + 1) + np.arange(len(rows))))

    @property
    def window(self) -> int:
        """The number of positives that are recent."""
        return max(FEWEST_RECENT, round(RECENT_SHARE * len(self.times)))

    def before(self, rows: Ints, time: int = NOW) -> tuple[Floats, Floats]:
        """ln(1 + positives) of these entities before a moment, overall and of late. [C] each

        The overall count is scaled to the length of the whole log, so that early moments compare with late ones; a
        window of positives is added to a short past, which says little.
        """
        total, place = len(self.times), int(np.searchsorted(self.times, time))
        counts = self._counts(rows, 0, place)
        scale = (total + self.window) / (place + self.window)
        recent = self._counts(rows, max(0, place - self.window), place)
        return np.log1p(counts * scale).astype(np.float32), np.log1p(recent).astype(np.float32)

    def _counts(self, rows: Ints, first: int, last: int) -> Ints:
        """Positives of these entities at the places first…last-1. [C]"""
        start = rows * (len(self.times) + 1)
        return np.searchsorted(self.keys, start + last) - np.searchsorted(self.keys, start + first)
