"""Contexts of drawn examples: history before the moment, fields dropped at the rate that is set, seeds kept."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_examples import IDS, drawn, ranking, sampler_of

from model.context.context import HOMEPAGE, MORE_LIKE_THIS, SEARCH, Context, HistoryEvent
from model.events.engagement import fold_of
from model.events.timelines import NO_TIME, LabelledRanking, Timeline
from model.learning.sampling import ContextExample
from model.learning.training_data import TrainingData


def moment_of(example: ContextExample, rankings: list[LabelledRanking]) -> int:
    """Earliest time of what was shown in an example, from the unit behind it."""
    shown = {IDS[row] for row in example.rows[example.shown]}
    times = [t for u in rankings for e, t in zip(u.entity_ids, u.times, strict=True) if e in shown]
    return min(times)


# ---- history ------------------------------------------------------------------------------------------------


def test_history_is_strictly_earlier_than_everything_shown(
    busy: tuple[list[LabelledRanking], dict[str, Timeline]],
) -> None:
    rankings, histories = busy
    lengths = set()
    for example in drawn(sampler_of(rankings, histories), HOMEPAGE):
        moment = moment_of(example, rankings)
        assert all(event.timestamp is not None and event.timestamp < moment for event in example.events)
        assert not {event.entity_id for event in example.events} & {IDS[row] for row in example.rows[example.shown]}
        assert [event.timestamp for event in example.events] == sorted(e.timestamp or 0 for e in example.events)
        assert [IDS[row] for row in example.event_rows] == [event.entity_id for event in example.events]
        lengths.add(len(example.events))
    assert 0 in lengths
    assert max(lengths) > 10


def test_an_imputed_source_is_of_the_history_before_the_moment(
    busy: tuple[list[LabelledRanking], dict[str, Timeline]],
) -> None:
    rankings, histories = busy
    for example in drawn(sampler_of(rankings, histories), HOMEPAGE):
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
    rankings = [ranking(Context(HOMEPAGE, "u1"), labels, [NO_TIME] * 12)]
    histories = {"u1": Timeline([HistoryEvent(entity_id) for entity_id in labels], [NO_TIME] * 12)}
    for example in drawn(sampler_of(rankings, histories), HOMEPAGE, 5):
        shown = {IDS[row] for row in example.rows[example.shown]}
        assert {event.entity_id for event in example.events} == set(labels) - shown


def test_a_slate_without_times_is_not_its_own_history() -> None:
    """Also where a slate is longer than what a step takes of it."""
    labels = {f"e{number}": float(number == 0) for number in range(20)}
    rankings = [ranking(Context(SEARCH, "u1", "heat"), labels, [NO_TIME] * 20, slate=True)]
    events = [HistoryEvent(e, label, SEARCH) for e, label in labels.items()]
    histories = {"u1": Timeline([HistoryEvent("e25"), *events], [NO_TIME] * 21)}
    for example in drawn(sampler_of(rankings, histories, slate=5), SEARCH, 5):
        assert [event.entity_id for event in example.events] == ["e25"]


# ---- random things ------------------------------------------------------------------------------------------


def assert_same(one: ContextExample, two: ContextExample) -> None:
    assert one.filled == two.filled
    assert list(one.events) == list(two.events)
    assert one.fold == two.fold
    for name in ("rows", "labels", "shown", "log_q", "event_rows"):
        assert np.array_equal(getattr(one, name), getattr(two, name)), name


def test_the_same_seed_draws_the_same_examples(prepared: TrainingData) -> None:
    one, two = prepared.sampler(prepared.rankings), prepared.sampler(prepared.rankings)
    for task in one.tasks:
        for left, right in zip(drawn(one, task, 2, seed=5), drawn(two, task, 2, seed=5), strict=True):
            assert_same(left, right)
        again = drawn(one, task, 2, seed=5)  # what was drawn before leaves no trace
        for left, right in zip(again, drawn(two, task, 2, seed=5), strict=True):
            assert_same(left, right)


def test_another_seed_draws_others(prepared: TrainingData) -> None:
    sampler = prepared.sampler(prepared.rankings)
    one, two = drawn(sampler, HOMEPAGE, 2, seed=1), drawn(sampler, HOMEPAGE, 2, seed=2)
    assert any(not np.array_equal(left.rows, right.rows) for left, right in zip(one, two, strict=True))


def share(examples: list[ContextExample], name: str) -> float:
    return float(np.mean([getattr(example.filled.context, name) is None for example in examples]))


@pytest.mark.parametrize(("setting", "name"), [("user_dropout", "user_id"), ("country_dropout", "country")])
@pytest.mark.parametrize("rate", [0.0, 0.5, 1.0])
def test_fields_are_dropped_at_the_rate_that_is_set(
    busy: tuple[list[LabelledRanking], dict[str, Timeline]], setting: str, name: str, rate: float
) -> None:
    rankings, histories = busy
    examples = drawn(sampler_of(rankings, histories, first_moments=0, **{setting: rate}), HOMEPAGE, 30)
    assert share(examples, name) == pytest.approx(rate, abs=0.1)


def test_history_is_dropped_at_the_rate_that_is_set(busy: tuple[list[LabelledRanking], dict[str, Timeline]]) -> None:
    rankings, histories = busy
    for example in drawn(sampler_of(rankings, histories, history_dropout=1), HOMEPAGE, 5):
        assert example.events == ()
        assert len(example.event_rows) == 0


def test_a_dropped_user_keeps_the_fold(busy: tuple[list[LabelledRanking], dict[str, Timeline]]) -> None:
    """The outcomes of a user are left out of the table although the network does not see who it is."""
    rankings, histories = busy
    for example in drawn(sampler_of(rankings, histories, user_dropout=1), HOMEPAGE, 5):
        assert example.filled.context.user_id is None
        assert example.fold == fold_of("u1", 3)


@pytest.mark.parametrize("rate", [0.0, 0.5, 1.0])
def test_searches_of_nobody_are_given_somebody_at_the_rate_that_is_set(
    busy: tuple[list[LabelledRanking], dict[str, Timeline]], rate: float
) -> None:
    judged = ranking(Context(SEARCH, query="name"), {"e25": 1, "e3": 0}, [NO_TIME, NO_TIME], slate=True)
    found = drawn(sampler_of([judged], busy[1], borrowed_user=rate), SEARCH, 40)
    assert share(found, "user_id") == pytest.approx(1 - rate, abs=0.05)
    for example in found:
        somebody = example.filled.context.user_id
        assert example.fold == (3 if somebody is None else fold_of(somebody, 3))
        events = {event.entity_id for event in example.events}
        assert events == (set() if somebody is None else {f"e{n}" for n in range(20)} - {"e3"})


def test_only_searches_of_nobody_borrow(busy: tuple[list[LabelledRanking], dict[str, Timeline]]) -> None:
    other = ranking(Context(MORE_LIKE_THIS, source_entity_id="e1"), {"e25": 1}, [NO_TIME])
    own = ranking(Context(SEARCH, "u2", query="name"), {"e25": 1}, [NO_TIME])
    sampler = sampler_of([other, own], busy[1], borrowed_user=1)
    assert {e.filled.context.user_id for e in drawn(sampler, MORE_LIKE_THIS)} == {None}
    assert {e.filled.context.user_id for e in drawn(sampler, SEARCH)} == {"u2"}


def test_a_context_without_user_uses_the_table_of_everybody() -> None:
    rankings = [ranking(Context(SEARCH, None, "heat"), {"e1": 1.0}, [5])]
    assert {example.fold for example in drawn(sampler_of(rankings), SEARCH, 3)} == {3}


def test_an_imputed_query_is_replaced_by_null_at_times_and_a_typed_one_never() -> None:
    pairs = [ranking(Context(MORE_LIKE_THIS, source_entity_id="e1"), {"e2": 1.0}, [NO_TIME])]
    examples = drawn(sampler_of(pairs, name_query_dropout=0.5), MORE_LIKE_THIS, 30)
    assert {example.filled.context.query for example in examples} == {None, "name e1"}
    assert 0.35 < share(examples, "query") < 0.65
    assert share(examples, "source_entity_id") == 0  # given, not imputed
    typed = [ranking(Context(SEARCH, None, "heat"), {"e2": 1.0}, [5])]
    assert share(drawn(sampler_of(typed, name_query_dropout=1.0), SEARCH, 5), "query") == 0
