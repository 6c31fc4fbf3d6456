"""Searches for one entity by its full name, without and with a user. A protocol, not training data.

A user who types a name wants that entity, whatever they liked before: taste must not move it from rank 1.
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

    Only unique names, of at most `MOST_NAMES` entities chosen by hash. WithNulls users the second list is empty.
    """
    names = {str(entity["entity_id"]): str(entity["display_name"]) for entity in entities}
    counts = Counter(normalise(name) for name in names.values())
    unique = [entity for entity, name in names.items() if normalise(name) and counts[normalise(name)] == 1]
    chosen = sorted(unique, key=lambda entity: (stable_hash(f"name of {entity}"), entity))[:MOST_NAMES]
    user_ids = sorted(users)
    drawn = [user_ids[stable_hash(f"who asks for {entity}") % len(user_ids)] for entity in chosen] if user_ids else []
    anonymous = [_ranking(entity, names[entity], None) for entity in chosen]
    return anonymous, [_ranking(entity, names[entity], user) for entity, user in zip(chosen, drawn, strict=False)]


def _ranking(entity: str, name: str, user: str | None) -> LabelledRanking:
    context = Context(task=SEARCH, query=name, user_id=user)
    return LabelledRanking(context, (entity,), np.ones(1), np.full(1, NO_TIME), False)
