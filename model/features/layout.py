"""The columns of the match features: the groups in order, as data. Computes no feature.

Saved models depend on the names and their order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain, pairwise, product
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Part = Literal["query", "source", "history", "country"]


class GivenParts(NamedTuple):
    """The parts of a context that are present; one field for each `Part`."""

    query: bool
    source: bool
    history: bool
    country: bool


@dataclass(frozen=True)
class FeatureGroup:
    """Features that are computed together. All are 0 where the part that the group `needs` is absent.

    `blocks` holds their names, split into blocks that are written together.
    """

    name: str
    blocks: tuple[tuple[str, ...], ...]
    needs: Part | None = None  # None = computed for every context
    varies: bool = True  # False = the same for all candidates of a context

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of all blocks, in the order of the columns."""
        return tuple(chain.from_iterable(self.blocks))

    def split(self, rows: Floats) -> list[Floats]:
        """A view of each block. rows [A, C], one row per name"""
        return [rows[block] for block in self._slices]

    @cached_property
    def _slices(self) -> list[slice]:
        return _consecutive_slices(self.blocks)

    def differs(self, given: GivenParts) -> bool:
        """Whether the features differ between the candidates of a context with these parts."""
        return self.varies and (self.needs is None or getattr(given, self.needs))


@dataclass(frozen=True, slots=True)
class VaryingColumns:
    """The A columns that differ between the candidates of a context."""

    columns: Ints  # [A], rising
    rows: Mapping[str, slice]  # group → its rows in an array [A, C]


@dataclass(frozen=True)
class FeatureLayout:
    """The groups side by side, F columns in all."""

    groups: tuple[FeatureGroup, ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The F names, in the order of the columns."""
        return tuple(chain.from_iterable(group.names for group in self.groups))

    def __len__(self) -> int:
        return len(self.names)

    def columns(self, group: str) -> slice:
        """The columns of one group. Raises KeyError where there is no such group."""
        return self._columns[group]

    def varying(self, given: GivenParts) -> VaryingColumns:
        """The columns that differ between the candidates of a context with these parts."""
        return self._varying[given]

    @cached_property
    def _columns(self) -> dict[str, slice]:
        return _slices_by_name(self.groups)

    @cached_property
    def _varying(self) -> dict[GivenParts, VaryingColumns]:
        """The varying columns for each of the 16 combinations of parts."""
        combinations = (GivenParts(*given) for given in product((False, True), repeat=len(GivenParts._fields)))
        return {given: self._varying_of(given) for given in combinations}

    def _varying_of(self, given: GivenParts) -> VaryingColumns:
        groups = [group for group in self.groups if group.differs(given)]
        indices = np.arange(len(self))
        columns = np.concatenate([indices[self._columns[group.name]] for group in groups])
        return VaryingColumns(columns, _slices_by_name(groups))


def write_rows(rows: Floats, *values: NDArray[Any]) -> None:
    """Write A arrays [C] into the rows [A, C]. Raises ValueError where their number is not A."""
    for row, value in zip(rows, values, strict=True):
        row[:] = value


def _slices_by_name(groups: Sequence[FeatureGroup]) -> dict[str, slice]:
    names = [group.name for group in groups]
    return dict(zip(names, _consecutive_slices(group.names for group in groups), strict=True))


def _consecutive_slices(parts: Iterable[tuple[str, ...]]) -> list[slice]:
    """The slice of each part in their concatenation."""
    ends = accumulate(map(len, parts), initial=0)
    return [slice(start, end) for start, end in pairwise(ends)]
