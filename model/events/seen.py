"""All entities that each user has seen. Separate from the history that the network reads.

A history is cut to the events that profiles use. The seen entities decide what is not shown again, so
none is dropped. Arrays may be views of a mapped file, so that worker processes share them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from model.catalogue.ids import IdTable
from model.catalogue.packed_text import Texts
from model.events.derived import observed

Ints = NDArray[np.int64]
_TABLE, _USERS = "seen_users_", "seen_users"
_NO_ROWS: Ints = np.zeros(0, np.int64)


class SeenEntities:
    """For U users: `rows[starts[u]:starts[u + 1]]` are the catalogue rows that user u has seen, newest first."""

    def __init__(self, users: IdTable, starts: Ints, rows: NDArray[np.int32]) -> None:
        if len(starts) != len(users) + 1 or int(starts[-1]) != len(rows):
            raise ValueError(f"{len(users)} users, {len(starts)} starts that end at {starts[-1:]}, {len(rows)} rows")
        self._users, self._starts, self._rows = users, starts, rows

    @classmethod
    def of(cls, events: pl.DataFrame, entity_ids: Sequence[str]) -> SeenEntities:
        """From all rows of an event table that have a user and are not derived, with any label and task.

        `entity_ids`: the catalogue in the order of its rows. Rows without a time are the oldest; later ones are newer.
        """
        catalogue = pl.DataFrame({"entity_id": list(entity_ids)}).with_row_index("row")
        seen = (
            observed(events)
            .lazy()
            .filter(pl.col("user_id").is_not_null())
            .select("user_id", "entity_id", "timestamp")
            .with_row_index("place")
            .sort("user_id", "timestamp", "place", descending=[False, True, True], nulls_last=[False, True, False])
            .unique(["user_id", "entity_id"], keep="first", maintain_order=True)
            .join(catalogue.lazy(), on="entity_id", how="inner", maintain_order="left")
            .collect()
        )
        counts = seen.group_by("user_id", maintain_order=True).len()
        starts = np.concatenate([[0], np.cumsum(counts["len"].to_numpy())]).astype(np.int64)
        users = IdTable.of(Texts.of(counts["user_id"].to_list()))
        return cls(users, starts, seen["row"].cast(pl.Int32).to_numpy())

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> SeenEntities:
        """Build from `arrays()`. Raises ValueError where lengths disagree, KeyError where an array is missing."""
        table = {name.removeprefix(_TABLE): array for name, array in arrays.items() if name.startswith(_TABLE)}
        users = IdTable.from_arrays(Texts.from_arrays(arrays, _USERS), table)
        return cls(users, arrays["seen_starts"], arrays["seen_rows"])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All arrays by name, for a file."""
        table = {f"{_TABLE}{name}": array for name, array in self._users.arrays().items()}
        texts = self._users.ids.arrays(_USERS)
        return {**table, **texts, "seen_starts": self._starts, "seen_rows": self._rows}

    def __len__(self) -> int:
        return len(self._users)

    def rows_of(self, user_id: str) -> Ints:
        """Catalogue rows that the user has seen, newest first; empty for an unknown user. [S]"""
        if not len(self._users) or (user := self._users.get(user_id)) is None:
            return _NO_ROWS
        return self._rows[self._starts[user] : self._starts[user + 1]].astype(np.int64)

    def below(self, row: int) -> SeenEntities:
        """A copy without the rows from `row` on, for a smaller catalogue."""
        kept = self._rows < row
        return SeenEntities(self._users, np.concatenate([[0], np.cumsum(kept)])[self._starts], self._rows[kept])

    def highest_row(self) -> int:
        """The highest row that any user has seen, −1 = none; a catalogue must have more rows than this."""
        return int(self._rows.max(initial=-1))
