"""Candidates of drawn examples: what was shown, beside it random entities and hard ones, none of them a positive."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from drawn_examples import IDS, NAMES, NOTHING_DROPPED, ROWS, drawn, ranking, sampler_of

from model.context.context import HOMEPAGE, MORE_LIKE_THIS, SEARCH, Context
from model.context.imputation import DEFAULT_RULES
from model.events.timelines import LabelledRanking, Timeline
from model.learning.negatives import Negatives
from model.learning.neighbours import Neighbours
from model.learning.sampling import Sampler
from model.learning.training_data import TrainingData

# ---- candidates ---------------------------------------------------------------------------------------------


def test_no_row_of_the_unit_is_among_the_random_ones(prepared: TrainingData) -> None:
    sampler = prepared.sampler(prepared.rankings)
    known = {}
    for entry in prepared.rankings:
        known.setdefault((entry.context.task, frozenset(entry.entity_ids)), entry)
    for task in sampler.tasks:
        for example in drawn(sampler, task, 3):
            shown = {prepared.ids[row] for row in example.rows[example.shown]}
            random = {prepared.ids[row] for row in example.rows[~example.shown]}
            assert len(random) == (~example.shown).sum()
            owners = [e for (name, ids), e in known.items() if name == task and shown <= ids]
            assert any(not random & set(owner.entity_ids) for owner in owners)


def test_random_ones_have_no_label_and_on_the_homepage_are_not_of_the_history(
    busy: tuple[list[LabelledRanking], dict[str, Timeline]],
) -> None:
    rankings, histories = busy
    for example in drawn(sampler_of(rankings, histories), HOMEPAGE):
        random = example.rows[~example.shown]
        assert not example.labels[~example.shown].any()
        assert not set(random.tolist()) & set(range(20))  # all that the unit knows
        assert not set(random.tolist()) & set(example.event_rows.tolist())


def test_shapes_and_log_q() -> None:
    rankings = [ranking(Context(SEARCH, None, "heat"), {"e1": 1.0, "e2": 1.0}, [5, 6])]
    for example in drawn(sampler_of(rankings), SEARCH, 3):
        assert len(example.rows) == len(example.labels) == len(example.shown) == len(example.log_q)
        assert (example.labels[example.shown] > 0).any()
        assert not example.log_q[example.shown].any()
        assert np.isfinite(example.log_q).all()
        assert (example.log_q[~example.shown] != 0).all()


def test_a_slate_keeps_its_positives() -> None:
    labels = {f"e{number}": float(number in (3, 17)) for number in range(20)}
    rankings = [ranking(Context(SEARCH, None, "heat"), labels, [5] * 20, slate=True)]
    for example in drawn(sampler_of(rankings, slate=6), SEARCH, 3):
        shown = {IDS[row] for row in example.rows[example.shown]}
        assert {"e3", "e17"} <= shown
        assert len(shown) == 6
        assert not example.log_q[example.shown].any()


def test_labels_belong_to_their_entities() -> None:
    labels = {f"e{number}": float(number % 4) for number in range(16)}
    rankings = [ranking(Context(HOMEPAGE, "u1"), labels, list(range(16)))]
    for example in drawn(sampler_of(rankings), HOMEPAGE):
        for row, label in zip(example.rows[example.shown], example.labels[example.shown], strict=True):
            assert label == labels[IDS[row]]


def test_a_unit_without_positives_still_gives_an_example() -> None:
    rankings = [
        ranking(Context(HOMEPAGE, "u1"), {"e1": 0.0, "e2": 0.0}, [1, 2]),
        ranking(Context(HOMEPAGE, "u2"), {"e3": 1.0}, [1]),
    ]
    for example in drawn(sampler_of(rankings), HOMEPAGE):
        assert len(example.rows) > 0


def test_some_searches_ask_for_one_entity_by_its_whole_name() -> None:
    rankings = [ranking(Context(SEARCH, query="something"), {"e1": 1.0, "e2": 0.0}, [1, 1], slate=True)]
    names = NAMES | {"e3": "Twice", "e4": "twice"}
    sampler = Sampler(rankings, {}, ROWS, names, DEFAULT_RULES, replace(NOTHING_DROPPED, name_searches=0.5))
    by_name = [example for example in drawn(sampler, SEARCH, 40) if example.filled.context.query != "something"]
    assert len(by_name) == pytest.approx(20 * sampler.shares[SEARCH], rel=0.15)
    asked = set()
    for example in by_name:
        (answer,) = example.rows[example.labels > 0]
        assert example.filled.context.query == names[IDS[answer]]
        asked.add(IDS[answer])
    assert len(asked) > 20
    assert not asked & {"e3", "e4"}


# ---- negatives ----------------------------------------------------------------------------------------------


def test_negatives_are_drawn_as_often_as_their_log_q_says() -> None:
    negatives = Negatives(np.array([0, 0, 0, 0, 1, 2, 2]), 6)
    q = np.exp(negatives.log_q(np.arange(6), 1))
    assert q.sum() == pytest.approx(1, abs=1e-5)
    counts = np.bincount(negatives.draw(200_000, np.random.default_rng(0)), minlength=6) / 200_000
    np.testing.assert_allclose(counts, q, atol=0.01)
    np.testing.assert_allclose(np.exp(negatives.log_q(np.arange(6), 50)), 50 * q, rtol=1e-5)
    assert q[0] > q[2] > q[1] > q[3] == q[4] == q[5]


def test_negatives_without_any_positive_are_uniform() -> None:
    q = np.exp(Negatives(np.zeros(0, np.int64), 4).log_q(np.arange(4), 1))
    np.testing.assert_allclose(q, 0.25, rtol=1e-6)


def test_every_task_has_a_share_of_a_step(prepared: TrainingData) -> None:
    sampler = prepared.sampler(prepared.rankings)
    assert set(sampler.shares) == {SEARCH, HOMEPAGE, MORE_LIKE_THIS}
    assert all(count >= 2 for count in sampler.shares.values())
    rng = np.random.default_rng(0)
    assert {task: len(sampler.draw(task, rng)) for task in sampler.tasks} == sampler.shares


# ---- hard negatives -----------------------------------------------------------------------------------------


def test_a_judged_slate_meets_entities_that_share_words_with_its_query() -> None:
    """Never one of the slate, never as shown, and a share of its random ones stays random."""
    labels = {"e0": 1.0, "e1": 0.0}
    rankings = [ranking(Context(SEARCH, query="heat"), labels, [5, 5], slate=True)]
    asked: list[str] = []

    def alike(query: str) -> np.ndarray:
        asked.append(query)
        return np.arange(8)

    sampler = Sampler(rankings, {}, ROWS, NAMES, DEFAULT_RULES, replace(NOTHING_DROPPED, hard_negatives=4), alike)
    without = sampler_of(rankings, hard_negatives=4)
    met = np.bincount(np.concatenate([e.rows[~e.shown] for e in drawn(sampler, SEARCH, 10)]), minlength=len(IDS))
    usual = np.bincount(np.concatenate([e.rows[~e.shown] for e in drawn(without, SEARCH, 10)]), minlength=len(IDS))
    assert asked == ["heat"]  # once a query
    assert met[:2].sum() == 0
    assert met[2:8].mean() > 2 * usual[2:8].mean()
    assert met[8:].min() > 0


def test_other_tasks_and_catalogue_searches_take_random_negatives_only() -> None:
    rankings = [
        ranking(Context(SEARCH, query="heat"), {"e0": 1.0}, [5]),
        ranking(Context(HOMEPAGE, "u1"), {"e0": 1.0}, [5]),
    ]

    def alike(query: str) -> np.ndarray:
        raise AssertionError(query)

    sampler = Sampler(rankings, {}, ROWS, NAMES, DEFAULT_RULES, NOTHING_DROPPED, alike)
    assert drawn(sampler, SEARCH, 3)
    assert drawn(sampler, HOMEPAGE, 3)


def test_more_like_this_meets_what_is_near_its_source_by_one_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.learning.neighbours.NEAREST", 6)
    rankings = [ranking(Context(MORE_LIKE_THIS, source_entity_id="e0"), {"e1": 1.0}, [5])]
    taste = np.zeros((len(IDS), 2))
    taste[:6] = 1.0  # e0 … e5 have the same fans
    near = Neighbours(np.zeros((len(IDS), 2)), taste, rankings, ROWS)
    config = replace(NOTHING_DROPPED, negatives=4, hard_negatives=3)
    sampler = Sampler(rankings, {}, ROWS, NAMES, DEFAULT_RULES, config, neighbours=near)
    met = np.bincount(
        np.concatenate([e.rows[~e.shown] for e in drawn(sampler, MORE_LIKE_THIS, 20)]), minlength=len(IDS)
    )
    assert met[:2].sum() == 0
    assert met[2:6].mean() > 2 * met[6:].mean()


def test_hard_negatives_are_drawn_as_often_as_their_log_q_says() -> None:
    """Over many draws each row comes as often as exp(log Q), as far as it can come once an example at most."""
    rankings = [ranking(Context(SEARCH, query="heat"), {"e0": 1.0, "e1": 0.0}, [5, 5], slate=True)]
    config = replace(NOTHING_DROPPED, negatives=4, hard_negatives=3)  # one random row a slate
    sampler = Sampler(rankings, {}, ROWS, NAMES, DEFAULT_RULES, config, lambda _: np.arange(10, 22))
    examples = drawn(sampler, SEARCH, 200)
    came, said = np.zeros(len(IDS)), np.zeros(len(IDS))
    for example in examples:
        rows = example.rows[~example.shown]
        came[rows] += 1
        said[rows] = np.exp(example.log_q[~example.shown])
    np.testing.assert_allclose(came[10:22] / len(examples), said[10:22], atol=0.04)
    assert said[10:22].min() > 3 / 12
    np.testing.assert_allclose(came[22:] / len(examples), said[22:], atol=0.03)
