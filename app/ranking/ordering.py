"""Orders ids by their logits. Pure functions; score nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np

from app.ranking.types import Logits


def distinct(entity_ids: Iterable[str]) -> list[str]:
    """Each id once, at its first position.

    >>> distinct(["b", "a", "b"])
    ['b', 'a']
    """
    return list(dict.fromkeys(entity_ids))


def without(entity_ids: Iterable[str], excluded: Collection[str]) -> list[str]:
    """The ids that are not in `excluded`, in their order."""
    return [entity_id for entity_id in entity_ids if entity_id not in excluded] if excluded else list(entity_ids)


def by_score(logits: Logits) -> list[int]:
    """Positions of [C] logits from best to worst: ties by input order, NaN last.

    >>> by_score(np.array([1, np.nan, 2, 2], np.float32))
    [2, 3, 0, 1]
    """
    places: list[int] = np.argsort(-logits, kind="stable").tolist()
    return places


def demoted_last(entity_ids: Sequence[str], logits: Logits, demoted: Collection[str]) -> list[int]:
    """Positions of [C] ids that are already ordered: first those with a logit that are not demoted, then the demoted
    ones with a logit, then those without a logit. Each group keeps its order.

    >>> demoted_last(["c", "d", "a", "b"], np.array([2, 2, 1, np.nan], np.float32), {"c"})
    [1, 2, 0, 3]
    """
    unscored = np.isnan(logits)
    return sorted(range(len(entity_ids)), key=lambda place: 2 * bool(unscored[place]) + (entity_ids[place] in demoted))
