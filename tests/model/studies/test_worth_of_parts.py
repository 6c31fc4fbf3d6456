"""A part that is switched off takes what it gave: what the logits read of it is gone, and nothing else changes."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
import pytest

from model.artefact.model import Artefact
from model.context.context import HOMEPAGE, MORE_LIKE_THIS, Context, HistoryEvent
from model.events.timelines import LabelledRanking
from model.studies.parts import PARTS, _without, worth_of_parts

NOBODY = MappingProxyType({})


def context_of(artefact: Artefact) -> Context:
    ids = artefact.catalogue.ids
    return Context(MORE_LIKE_THIS, source_entity_id=ids[0], history=tuple(HistoryEvent(entity) for entity in ids[1:4]))


@pytest.mark.parametrize("part", sorted(PARTS))
def test_every_part_has_a_say(artefact: Artefact, part: str) -> None:
    encoded = artefact.encode_context(artefact.fill(context_of(artefact)))
    before = artefact.catalogue.logits(encoded)
    without = _without(artefact.catalogue, PARTS[part]).logits(encoded)
    assert not np.allclose(before, without, atol=1e-6)
    np.testing.assert_array_equal(artefact.catalogue.logits(encoded), before)


def test_the_worth_is_of_each_part_for_each_task(artefact: Artefact) -> None:
    entities, times = tuple(artefact.catalogue.ids[:4]), np.zeros(4, np.int64)
    rankings = [
        LabelledRanking(Context(HOMEPAGE, user_id=f"u{n}"), entities, np.array([1.0, 0, 0, n % 2]), times, False)
        for n in range(3)
    ]
    worth = worth_of_parts(artefact.catalogue, rankings, NOBODY)
    assert set(worth) == set(PARTS)
    assert all(set(by_task) == {HOMEPAGE} and by_task[HOMEPAGE].groups == 3 for by_task in worth.values())
