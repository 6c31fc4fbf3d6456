"""The rule for entities that the user has seen: keep, drop or demote them. Pure functions; score nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Literal

import numpy as np
import numpy.typing as npt

from model.context.context import HOMEPAGE, Context

SeenAction = Literal["keep", "drop", "demote"]
Rows = npt.NDArray[np.int64]
SEEN_LIMIT = "seen_limit"  # `degraded`: the user has seen more than the settings allow a ranking to drop or demote
NO_ROWS: Rows = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class SeenRule:
    """The entities that the user has seen, and what to do with them: ids of the context's history, and catalogue rows
    [S] that the model has stored, newest first. `cut`: there are more rows.
    """

    action: SeenAction
    entity_ids: frozenset[str] = frozenset()
    rows: Rows = field(default_factory=lambda: NO_ROWS)
    cut: bool = False

    def among(self, candidates: Sequence[str], find: Callable[[Sequence[str]], Rows]) -> frozenset[str]:
        """The candidates that the user has seen. `find`: ids → rows, -1 = unknown."""
        seen_ids = self.entity_ids.intersection(candidates)
        return (
            seen_ids.union(compress(candidates, np.isin(find(candidates), self.rows))) if len(self.rows) else seen_ids
        )


def history_entities(context: Context) -> frozenset[str]:
    """Every entity of the user's history, whatever its label."""
    return frozenset(event.entity_id for event in context.history)


def seen_by_default(context: Context, retrieved: bool) -> SeenAction:
    """The default action for seen entities, if the request names none."""
    return "drop" if retrieved and context.task == HOMEPAGE else "keep"
