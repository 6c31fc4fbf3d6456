"""The host: what is left out, what goes behind. Pure functions over ids and logits; scores nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Literal

import numpy as np
import numpy.typing as npt

from app.ranking.scoring import Logits
from model.context.context import HOMEPAGE, Context

SeenAction = Literal["keep", "drop", "demote"]
Rows = npt.NDArray[np.int64]
SEEN_LIMIT = "seen_limit"  # `degraded`: the person has met more than the settings let a ranking leave out
NO_ROWS: Rows = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Seen:
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


def distinct(entity_ids: Iterable[str]) -> list[str]:
    """Each id once, at its first place.

    >>> distinct(["b", "a", "b"])
    ['b', 'a']
    """
    return list(dict.fromkeys(entity_ids))


def history_entities(context: Context) -> frozenset[str]:
    """Every entity of the user's history, whatever its label."""
    return frozenset(event.entity_id for event in context.history)


def seen_by_default(context: Context, retrieved: bool) -> SeenAction:
    """What happens to seen entities where the request does not say."""
    return "drop" if retrieved and context.task == HOMEPAGE else "keep"


def without(entity_ids: Iterable[str], left_out: Collection[str]) -> list[str]:
    """The ids that are not left out, in their order."""
    return [entity_id for entity_id in entity_ids if entity_id not in left_out]


def order(entity_ids: Sequence[str], logits: Logits, behind: Collection[str]) -> list[int]:
    """Places of [C] ids from best to worst logit: ties by input order, then those `behind`, NaN last.

    >>> order(["a", "b", "c", "d"], np.array([1, np.nan, 2, 2], np.float32), {"c"})
    [3, 0, 2, 1]
    """
    places: list[int] = np.argsort(-logits, kind="stable").tolist()
    if not behind:
        return places
    unscored = np.isnan(logits)
    return sorted(places, key=lambda place: 2 * bool(unscored[place]) + (entity_ids[place] in behind))
