"""Near a source is what one of two signals calls near, less what is known to be like it; text says how near."""

from __future__ import annotations

import numpy as np

from model.context.context import HOMEPAGE, MORE_LIKE_THIS, Context
from model.events.timelines import NO_TIME, LabelledRanking
from model.learning import neighbours
from model.learning.neighbours import Neighbours

ROWS = {f"e{row}": row for row in range(6)}
TEXT = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.8, 0.6], [0, 0], [0, 1]])
TASTE = np.array([[1.0], [0.0], [0.0], [0.0], [0.9], [-1.0]])


def ranking(source: str, entity: str, label: float, task: str = MORE_LIKE_THIS) -> LabelledRanking:
    context = Context(task, source_entity_id=source)
    return LabelledRanking(context, (entity,), np.array([label]), np.full(1, NO_TIME), False)


def test_both_signals_have_their_nearest(monkeypatch) -> None:
    monkeypatch.setattr(neighbours, "NEAREST", 1)
    assert Neighbours(TEXT, TASTE, (), ROWS).of(0).rows.tolist() == [1, 4]


def test_what_is_known_to_be_alike_is_left_out_and_what_was_passed_is_not(monkeypatch) -> None:
    monkeypatch.setattr(neighbours, "NEAREST", 2)
    known = [ranking("e0", "e1", 1.0), ranking("e0", "e3", 0.0), ranking("e3", "e4", 1.0)]
    assert Neighbours(TEXT, TASTE, known, ROWS).of(0).rows.tolist() == [3, 4]
    of_homepage = [ranking("e0", "e1", 1.0, HOMEPAGE)]
    assert 1 in Neighbours(TEXT, TASTE, of_homepage, ROWS).of(0).rows


def test_an_entity_without_words_and_likes_has_no_neighbours() -> None:
    assert Neighbours(TEXT * 0, TASTE * 0, (), ROWS).of(2).rows.tolist() == []


def test_the_target_falls_from_the_nearest_by_text_to_the_last_and_others_have_none(monkeypatch) -> None:
    monkeypatch.setattr(neighbours, "NEAREST", 3)
    near = Neighbours(TEXT, TASTE, [ranking("e0", "e3", 1.0)], ROWS).of(0)
    targets = near.targets_of(np.arange(6))
    assert targets[1] == np.float32(neighbours.NEARLY)  # the nearest by text
    assert not targets[[0, 2, 3, 4, 5]].any()  # itself, the farthest, a known one, near by taste
    assert Neighbours(TEXT * 0, TASTE * 0, (), ROWS).of(2).targets_of(np.arange(6)).tolist() == [0] * 6
