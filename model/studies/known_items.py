"""Searches for one entity by its whole name, asked by nobody and by somebody. A protocol, no training data.

Who types a name wants the thing of that name, whatever they liked before: taste must not push it from the first place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set

import numpy as np

from model.context.context import SEARCH, Context
from model.events.timelines import NO_TIME, LabelledRanking
from model.text.normalise import normalise, stable_hash

MOST_NAMES = 400


def name_searches(
    entities: Sequence[Mapping[str, object]], users: Set[str]
) -> tuple[list[LabelledRanking], list[LabelledRanking]]:
    """The same searches twice, in one order: without a user, and with one drawn by hash.

    Only names that one entity alone has, of `MOST_NAMES` entities chosen by hash. No users, no second list.
    """
    names = {str(entity["entity_id"]): str(entity["display_name"]) for entity in entities}
    counts = Counter(normalise(name) for name in names.values())
    single = [entity for entity, name in names.items() if normalise(name) and counts[normalise(name)] == 1]
    chosen = sorted(single, key=lambda entity: (stable_hash(f"name of {entity}"), entity))[:MOST_NAMES]
    people = sorted(users)
    asked = [people[stable_hash(f"who asks for {entity}") % len(people)] for entity in chosen] if people else []
    alone = [_ranking(entity, names[entity], None) for entity in chosen]
    return alone, [_ranking(entity, names[entity], user) for entity, user in zip(chosen, asked, strict=False)]


def _ranking(entity: str, name: str, user: str | None) -> LabelledRanking:
    context = Context(task=SEARCH, query=name, user_id=user)
    return LabelledRanking(context, (entity,), np.ones(1), np.full(1, NO_TIME), False)
