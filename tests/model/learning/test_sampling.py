"""Drawn examples: history before the moment, no positive among the random ones, fields dropped, seeds kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from model.config import TrainingConfig
from model.context.context import HOMEPAGE, MORE_LIKE_THIS, SEARCH, Context, HistoryEvent
from model.context.imputation import DEFAULT_RULES
from model.events.engagement import fold_of
from model.events.timelines import NO_TIME, Timeline, Unit
from model.learning.prepared import Prepared
from model.learning.sampling import Example, Negatives, Sampler

NOTHING_DROPPED = TrainingConfig(
    contexts_per_step=24, negatives=12, folds=3,
    user_dropout=0, history_dropout=0, country_dropout=0, name_query_dropout=0, borrowed_user=0, name_searches=0,
)  # fmt: skip
IDS = [f"e{number}" for number in range(30)]
ROWS = {entity_id: row for row, entity_id in enumerate(IDS)}
NAMES = {entity_id: f"name {entity_id}" for entity_id in IDS}


def sampler_of(units: list[Unit], histories: dict[str, Timeline] | None = None, **changes: float) -> Sampler:
    config = replace(NOTHING_DROPPED, **changes)
    return Sampler(units, histories or {}, ROWS, NAMES, DEFAULT_RULES, config)


def unit(context: Context, labels: dict[str, float], times: list[int], slate: bool = False) -> Unit:
    return Unit(context, tuple(labels), np.array(list(labels.values())), np.array(times, np.int64), slate)


def drawn(sampler: Sampler, task: str, times: int = 20, seed: int = 0) -> list[Example]:
    rng = np.random.default_rng(seed)
    return [example for _ in range(times) for example in sampler.draw(task, rng)]


def moment_of(example: Example, units: list[Unit]) -> int:
    """Earliest time of what was shown in an example, from the unit behind it."""
    shown = {IDS[row] for row in example.rows[example.shown]}
    times = [t for u in units for e, t in zip(u.entity_ids, u.times, strict=True) if e in shown]
    return min(times)


# ---- history ------------------------------------------------------------------------------------------------


@pytest.fixture
def busy() -> tuple[list[Unit], dict[str, Timeline]]:
    """A user with an event a second, two of them in each odd second."""
    times = [1000 * (number // 2) for number in range(20)]
    labels = {f"e{number}": float(number % 3 != 0) for number in range(20)}
    events = [HistoryEvent(e, label, HOMEPAGE, t) for (e, label), t in zip(labels.items(), times, strict=True)]
    units = [unit(Context(HOMEPAGE, "u1", country="US"), labels, times)]
    return units, {"u1": Timeline(events, times)}


def test_history_is_strictly_earlier_than_everything_shown(busy: tuple[list[Unit], dict[str, Timeline]]) -> None:
    units, histories = busy
    lengths = set()
    for example in drawn(sampler_of(units, histories), HOMEPAGE):
        moment = moment_of(example, units)
        assert all(event.timestamp is not None and event.timestamp < moment for event in example.events)
        assert not {event.entity_id for event in example.events} & {IDS[row] for row in example.rows[example.shown]}
        assert [event.timestamp for event in example.events] == sorted(e.timestamp or 0 for e in example.events)
        assert [IDS[row] for row in example.event_rows] == [event.entity_id for event in example.events]
        lengths.add(len(example.events))
    assert 0 in lengths
    assert max(lengths) > 10


def test_an_imputed_source_is_of_the_history_before_the_moment(busy: tuple[list[Unit], dict[str, Timeline]]) -> None:
    units, histories = busy
    for example in drawn(sampler_of(units, histories), HOMEPAGE):
        shown = {IDS[row] for row in example.rows[example.shown]}
        assert example.filled.context.source_entity_id not in shown
        assert example.filled.context.source_entity_id == example.filled.context.last_engaged()


def test_before_leaves_out_equal_times_and_rows_without_time() -> None:
    events = [HistoryEvent(f"e{number}") for number in range(4)]
    timeline = Timeline(events, [NO_TIME, 5, 5, 9])
    assert timeline.before(5) == []
    assert timeline.before(9) == events[1:3]
    assert timeline.before(10) == events[1:]
    assert timeline.before(0) == []


def test_without_times_history_is_all_but_what_is_shown() -> None:
    labels = {f"e{number}": 1.0 for number in range(12)}
    units = [unit(Context(HOMEPAGE, "u1"), labels, [NO_TIME] * 12)]
    histories = {"u1": Timeline([HistoryEvent(entity_id) for entity_id in labels], [NO_TIME] * 12)}
    for example in drawn(sampler_of(units, histories), HOMEPAGE, 5):
        shown = {IDS[row] for row in example.rows[example.shown]}
        assert {event.entity_id for event in example.events} == set(labels) - shown


def test_a_slate_without_times_is_not_its_own_history() -> None:
    """Also where a slate is longer than what a step takes of it."""
    labels = {f"e{number}": float(number == 0) for number in range(20)}
    units = [unit(Context(SEARCH, "u1", "heat"), labels, [NO_TIME] * 20, slate=True)]
    events = [HistoryEvent(e, label, SEARCH) for e, label in labels.items()]
    histories = {"u1": Timeline([HistoryEvent("e25"), *events], [NO_TIME] * 21)}
    for example in drawn(sampler_of(units, histories, slate=5), SEARCH, 5):
        assert [event.entity_id for event in example.events] == ["e25"]


# ---- candidates ---------------------------------------------------------------------------------------------


def test_no_row_of_the_unit_is_among_the_random_ones(prepared: Prepared) -> None:
    sampler = prepared.sampler(prepared.units)
    known = {}
    for entry in prepared.units:
        known.setdefault((entry.context.task, frozenset(entry.entity_ids)), entry)
    for task in sampler.tasks:
        for example in drawn(sampler, task, 3):
            shown = {prepared.ids[row] for row in example.rows[example.shown]}
            random = {prepared.ids[row] for row in example.rows[~example.shown]}
            assert len(random) == (~example.shown).sum()
            owners = [e for (name, ids), e in known.items() if name == task and shown <= ids]
            assert any(not random & set(owner.entity_ids) for owner in owners)


def test_random_ones_have_no_label_and_on_the_homepage_are_not_of_the_history(
    busy: tuple[list[Unit], dict[str, Timeline]],
) -> None:
    units, histories = busy
    for example in drawn(sampler_of(units, histories), HOMEPAGE):
        random = example.rows[~example.shown]
        assert not example.labels[~example.shown].any()
        assert not set(random.tolist()) & set(range(20))  # all that the unit knows
        assert not set(random.tolist()) & set(example.event_rows.tolist())


def test_shapes_and_log_q() -> None:
    units = [unit(Context(SEARCH, None, "heat"), {"e1": 1.0, "e2": 1.0}, [5, 6])]
    for example in drawn(sampler_of(units), SEARCH, 3):
        assert len(example.rows) == len(example.labels) == len(example.shown) == len(example.log_q)
        assert (example.labels[example.shown] > 0).any()
        assert not example.log_q[example.shown].any()
        assert np.isfinite(example.log_q).all()
        assert (example.log_q[~example.shown] != 0).all()


def test_a_slate_keeps_its_positives() -> None:
    labels = {f"e{number}": float(number in (3, 17)) for number in range(20)}
    units = [unit(Context(SEARCH, None, "heat"), labels, [5] * 20, slate=True)]
    for example in drawn(sampler_of(units, slate=6), SEARCH, 3):
        shown = {IDS[row] for row in example.rows[example.shown]}
        assert {"e3", "e17"} <= shown
        assert len(shown) == 6
        assert not example.log_q[example.shown].any()


def test_labels_belong_to_their_entities() -> None:
    labels = {f"e{number}": float(number % 4) for number in range(16)}
    units = [unit(Context(HOMEPAGE, "u1"), labels, list(range(16)))]
    for example in drawn(sampler_of(units), HOMEPAGE):
        for row, label in zip(example.rows[example.shown], example.labels[example.shown], strict=True):
            assert label == labels[IDS[row]]


def test_a_unit_without_positives_still_gives_an_example() -> None:
    units = [
        unit(Context(HOMEPAGE, "u1"), {"e1": 0.0, "e2": 0.0}, [1, 2]),
        unit(Context(HOMEPAGE, "u2"), {"e3": 1.0}, [1]),
    ]
    for example in drawn(sampler_of(units), HOMEPAGE):
        assert len(example.rows) > 0


def test_some_searches_ask_for_one_entity_by_its_whole_name() -> None:
    units = [unit(Context(SEARCH, query="something"), {"e1": 1.0, "e2": 0.0}, [1, 1], slate=True)]
    names = NAMES | {"e3": "Twice", "e4": "twice"}
    sampler = Sampler(units, {}, ROWS, names, DEFAULT_RULES, replace(NOTHING_DROPPED, name_searches=0.5))
    by_name = [example for example in drawn(sampler, SEARCH, 40) if example.filled.context.query != "something"]
    assert len(by_name) == pytest.approx(20 * sampler.shares[SEARCH], rel=0.15)
    asked = set()
    for example in by_name:
        (answer,) = example.rows[example.labels > 0]
        assert example.filled.context.query == names[IDS[answer]]
        asked.add(IDS[answer])
    assert len(asked) > 20
    assert not asked & {"e3", "e4"}


# ---- random things ------------------------------------------------------------------------------------------


def assert_same(one: Example, two: Example) -> None:
    assert one.filled == two.filled
    assert list(one.events) == list(two.events)
    assert one.fold == two.fold
    for name in ("rows", "labels", "shown", "log_q", "event_rows"):
        assert np.array_equal(getattr(one, name), getattr(two, name)), name


def test_the_same_seed_draws_the_same_examples(prepared: Prepared) -> None:
    one, two = prepared.sampler(prepared.units), prepared.sampler(prepared.units)
    for task in one.tasks:
        for left, right in zip(drawn(one, task, 2, seed=5), drawn(two, task, 2, seed=5), strict=True):
            assert_same(left, right)
        again = drawn(one, task, 2, seed=5)  # what was drawn before leaves no trace
        for left, right in zip(again, drawn(two, task, 2, seed=5), strict=True):
            assert_same(left, right)


def test_another_seed_draws_others(prepared: Prepared) -> None:
    sampler = prepared.sampler(prepared.units)
    one, two = drawn(sampler, HOMEPAGE, 2, seed=1), drawn(sampler, HOMEPAGE, 2, seed=2)
    assert any(not np.array_equal(left.rows, right.rows) for left, right in zip(one, two, strict=True))


def share(examples: list[Example], name: str) -> float:
    return float(np.mean([getattr(example.filled.context, name) is None for example in examples]))


@pytest.mark.parametrize(("setting", "name"), [("user_dropout", "user_id"), ("country_dropout", "country")])
@pytest.mark.parametrize("rate", [0.0, 0.5, 1.0])
def test_fields_are_dropped_at_the_rate_that_is_set(
    busy: tuple[list[Unit], dict[str, Timeline]], setting: str, name: str, rate: float
) -> None:
    units, histories = busy
    examples = drawn(sampler_of(units, histories, **{setting: rate}), HOMEPAGE, 30)
    assert share(examples, name) == pytest.approx(rate, abs=0.1)


def test_history_is_dropped_at_the_rate_that_is_set(busy: tuple[list[Unit], dict[str, Timeline]]) -> None:
    units, histories = busy
    for example in drawn(sampler_of(units, histories, history_dropout=1), HOMEPAGE, 5):
        assert example.events == ()
        assert len(example.event_rows) == 0


def test_a_dropped_user_keeps_the_fold(busy: tuple[list[Unit], dict[str, Timeline]]) -> None:
    """The outcomes of a user are left out of the table although the network does not see who it is."""
    units, histories = busy
    for example in drawn(sampler_of(units, histories, user_dropout=1), HOMEPAGE, 5):
        assert example.filled.context.user_id is None
        assert example.fold == fold_of("u1", 3)


@pytest.mark.parametrize("rate", [0.0, 0.5, 1.0])
def test_searches_of_nobody_are_given_somebody_at_the_rate_that_is_set(
    busy: tuple[list[Unit], dict[str, Timeline]], rate: float
) -> None:
    judged = unit(Context(SEARCH, query="name"), {"e25": 1, "e3": 0}, [NO_TIME, NO_TIME], slate=True)
    found = drawn(sampler_of([judged], busy[1], borrowed_user=rate), SEARCH, 40)
    assert share(found, "user_id") == pytest.approx(1 - rate, abs=0.05)
    for example in found:
        somebody = example.filled.context.user_id
        assert example.fold == (3 if somebody is None else fold_of(somebody, 3))
        events = {event.entity_id for event in example.events}
        assert events == (set() if somebody is None else {f"e{n}" for n in range(20)} - {"e3"})


def test_only_searches_of_nobody_borrow(busy: tuple[list[Unit], dict[str, Timeline]]) -> None:
    other = unit(Context(MORE_LIKE_THIS, source_entity_id="e1"), {"e25": 1}, [NO_TIME])
    own = unit(Context(SEARCH, "u2", query="name"), {"e25": 1}, [NO_TIME])
    sampler = sampler_of([other, own], busy[1], borrowed_user=1)
    assert {e.filled.context.user_id for e in drawn(sampler, MORE_LIKE_THIS)} == {None}
    assert {e.filled.context.user_id for e in drawn(sampler, SEARCH)} == {"u2"}


def test_a_context_without_user_uses_the_table_of_everybody() -> None:
    units = [unit(Context(SEARCH, None, "heat"), {"e1": 1.0}, [5])]
    assert {example.fold for example in drawn(sampler_of(units), SEARCH, 3)} == {3}


def test_an_imputed_query_is_replaced_by_null_at_times_and_a_typed_one_never() -> None:
    pairs = [unit(Context(MORE_LIKE_THIS, source_entity_id="e1"), {"e2": 1.0}, [NO_TIME])]
    examples = drawn(sampler_of(pairs, name_query_dropout=0.5), MORE_LIKE_THIS, 30)
    assert {example.filled.context.query for example in examples} == {None, "name e1"}
    assert 0.35 < share(examples, "query") < 0.65
    assert share(examples, "source_entity_id") == 0  # given, not imputed
    typed = [unit(Context(SEARCH, None, "heat"), {"e2": 1.0}, [5])]
    assert share(drawn(sampler_of(typed, name_query_dropout=1.0), SEARCH, 5), "query") == 0


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


def test_every_task_has_a_share_of_a_step(prepared: Prepared) -> None:
    sampler = prepared.sampler(prepared.units)
    assert set(sampler.shares) == {SEARCH, HOMEPAGE, MORE_LIKE_THIS}
    assert all(count >= 2 for count in sampler.shares.values())
    rng = np.random.default_rng(0)
    assert {task: len(sampler.draw(task, rng)) for task in sampler.tasks} == sampler.shares


# ---- hard negatives -----------------------------------------------------------------------------------------


def test_a_judged_slate_meets_entities_that_share_words_with_its_query() -> None:
    """Never one of the slate, never as shown, and a share of its random ones stays random."""
    labels = {"e0": 1.0, "e1": 0.0}
    units = [unit(Context(SEARCH, query="heat"), labels, [5, 5], slate=True)]
    asked: list[str] = []

    def alike(query: str) -> np.ndarray:
        asked.append(query)
        return np.arange(8)

    sampler = Sampler(units, {}, ROWS, NAMES, DEFAULT_RULES, replace(NOTHING_DROPPED, hard_negatives=4), alike)
    without = sampler_of(units, hard_negatives=4)
    met = np.bincount(np.concatenate([e.rows[~e.shown] for e in drawn(sampler, SEARCH, 10)]), minlength=len(IDS))
    usual = np.bincount(np.concatenate([e.rows[~e.shown] for e in drawn(without, SEARCH, 10)]), minlength=len(IDS))
    assert asked == ["heat"]  # once a query
    assert met[:2].sum() == 0
    assert met[2:8].mean() > 2 * usual[2:8].mean()
    assert met[8:].min() > 0


def test_other_tasks_and_catalogue_searches_take_random_negatives_only() -> None:
    units = [unit(Context(SEARCH, query="heat"), {"e0": 1.0}, [5]), unit(Context(HOMEPAGE, "u1"), {"e0": 1.0}, [5])]

    def alike(query: str) -> np.ndarray:
        raise AssertionError(query)

    sampler = Sampler(units, {}, ROWS, NAMES, DEFAULT_RULES, NOTHING_DROPPED, alike)
    assert drawn(sampler, SEARCH, 3)
    assert drawn(sampler, HOMEPAGE, 3)


def test_hard_negatives_are_drawn_as_often_as_their_log_q_says() -> None:
    """Over many draws each row comes as often as exp(log Q), as far as it can come once an example at most."""
    units = [unit(Context(SEARCH, query="heat"), {"e0": 1.0, "e1": 0.0}, [5, 5], slate=True)]
    config = replace(NOTHING_DROPPED, negatives=4, hard_negatives=3)  # one random row a slate
    sampler = Sampler(units, {}, ROWS, NAMES, DEFAULT_RULES, config, lambda _: np.arange(10, 22))
    examples = drawn(sampler, SEARCH, 200)
    came, said = np.zeros(len(IDS)), np.zeros(len(IDS))
    for example in examples:
        rows = example.rows[~example.shown]
        came[rows] += 1
        said[rows] = np.exp(example.log_q[~example.shown])
    np.testing.assert_allclose(came[10:22] / len(examples), said[10:22], atol=0.04)
    assert said[10:22].min() > 3 / 12
    np.testing.assert_allclose(came[22:] / len(examples), said[22:], atol=0.03)
