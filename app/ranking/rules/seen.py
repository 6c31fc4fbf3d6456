"""The rule of what a person has met: keep it, leave it out or put it behind. Pure functions; score nothing."""

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
SEEN_LIMIT = "seen_limit"  # `degraded`: the person has met more than the settings let a ranking leave out
NO_ROWS: Rows = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class SeenRule:
    """What a person has met, and what is to be done with it: ids of the context's history, and rows of the catalogue
    [S] that the model knows of, the newest first. `cut`: there are more rows.
    """

    action: SeenAction
    entity_ids: frozenset[str] = frozenset()
    rows: Rows = field(default_factory=lambda: NO_ROWS)
    cut: bool = False

    def among(self, candidates: Sequence[str], find: Callable[[Sequence[str]], Rows]) -> frozenset[str]:
        """Those candidates that the person has met. `find`: ids → rows, -1 = unknown."""
        met = self.entity_ids.intersection(candidates)
        return met.union(compress(candidates, np.isin(find(candidates), self.rows))) if len(self.rows) else met


def history_entities(context: Context) -> frozenset[str]:
    """Every entity of the user's history, whatever its label."""
    return frozenset(event.entity_id for event in context.history)


def seen_by_default(context: Context, retrieved: bool) -> SeenAction:
    """What happens to seen entities where the request does not say."""
    return "drop" if retrieved and context.task == HOMEPAGE else "keep"
