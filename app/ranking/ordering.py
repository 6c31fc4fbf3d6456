"""From candidates and logits to an order. Pure functions over ids; score nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np

from app.ranking.scoring import Logits


def distinct(entity_ids: Iterable[str]) -> list[str]:
    """Each id once, at its first place.

    >>> distinct(["b", "a", "b"])
    ['b', 'a']
    """
    return list(dict.fromkeys(entity_ids))


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
