"""Missing fields of a context are filled as the table in DESIGN.md says; filling twice changes nothing."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.context.context import HOMEPAGE, MORE_LIKE_THIS, SEARCH, TASKS, Context, HistoryEvent, Imputed
from model.context.imputation import DEFAULT_RULES, MissingFieldError, fill, rules_from_json, rules_to_json

NAMES = {"e1": "Toy Story 2", "e2": "AMÉLIE!", "e3": "?!", "e4": "Heat"}
LIKED_E1 = (HistoryEvent("e2", 1.0), HistoryEvent("e1", 1.0), HistoryEvent("e4", 0.0))
LIKED_STRANGER = (HistoryEvent("e1", 1.0), HistoryEvent("gone", 1.0))
LIKED_NOTHING = (HistoryEvent("e1", 0.0),)
FULL = Context("search", "u", "heat", "US", "e4")

# task, what the client said, field, value, rule
CELLS = [
    # search
    (SEARCH, {}, "query", None, "null_query"),
    (SEARCH, {"source_entity_id": "e1"}, "query", None, "null_query"),
    (SEARCH, {"history": LIKED_E1}, "query", None, "null_query"),
    (SEARCH, {"query": "heat"}, "source_entity_id", None, "null_source"),
    (SEARCH, {"query": "heat", "history": LIKED_E1}, "source_entity_id", None, "null_source"),
    (SEARCH, {"query": "heat"}, "user_id", None, "null_user"),
    (SEARCH, {"query": "heat"}, "country", None, "null_country"),
    # more like this
    (MORE_LIKE_THIS, {"source_entity_id": "e1"}, "query", "toy story 2", "source_display_name"),
    (MORE_LIKE_THIS, {"source_entity_id": "e2"}, "query", "amélie", "source_display_name"),
    (MORE_LIKE_THIS, {"source_entity_id": "gone"}, "query", None, "null_query"),
    (MORE_LIKE_THIS, {"source_entity_id": "e3"}, "query", None, "null_query"),
    (MORE_LIKE_THIS, {"source_entity_id": "e1", "row_title": "Like it"}, "query", "toy story 2", "source_display_name"),
    (MORE_LIKE_THIS, {"source_entity_id": "e1", "history": LIKED_E1}, "user_id", None, "null_user"),
    (MORE_LIKE_THIS, {"source_entity_id": "e1"}, "country", None, "null_country"),
    # homepage
    (HOMEPAGE, {"row_title": "Cult  Classics!"}, "query", "cult classics", "row_title"),
    (HOMEPAGE, {"row_title": "Cult", "history": LIKED_E1}, "query", "cult", "row_title"),
    (HOMEPAGE, {"history": LIKED_E1}, "query", "toy story 2", "last_engaged_display_name"),
    (HOMEPAGE, {"row_title": "  ", "history": LIKED_E1}, "query", "toy story 2", "last_engaged_display_name"),
    (HOMEPAGE, {"row_title": "…", "history": LIKED_E1}, "query", "toy story 2", "last_engaged_display_name"),
    (HOMEPAGE, {"history": LIKED_STRANGER}, "query", None, "null_query"),
    (HOMEPAGE, {"history": LIKED_NOTHING}, "query", None, "null_query"),
    (HOMEPAGE, {}, "query", None, "null_query"),
    (HOMEPAGE, {"history": LIKED_E1}, "source_entity_id", "e1", "last_engaged_entity"),
    (HOMEPAGE, {"history": LIKED_NOTHING}, "source_entity_id", None, "null_source"),
    (HOMEPAGE, {"row_title": "Cult"}, "source_entity_id", None, "null_source"),
    (HOMEPAGE, {}, "user_id", None, "null_user"),
    (HOMEPAGE, {}, "country", None, "null_country"),
    # a task that the table does not name
    ("trailers", {}, "query", None, "null_query"),
    ("trailers", {"source_entity_id": "e1"}, "query", "toy story 2", "source_display_name"),
    ("trailers", {"history": LIKED_E1}, "source_entity_id", None, "null_source"),
    ("trailers", {}, "user_id", None, "null_user"),
    ("trailers", {}, "country", None, "null_country"),
]


@pytest.mark.parametrize(("task", "said", "field", "value", "rule"), CELLS)
def test_every_cell_of_the_table_is_filled_as_documented(
    task: str, said: dict[str, object], field: str, value: str | None, rule: str
) -> None:
    raw = replace(Context(task), **said)
    filled = fill(raw, DEFAULT_RULES, NAMES.get)
    assert Imputed(field, value, rule) in filled.imputed
    assert filled.rule_of(field) == rule
    assert getattr(filled.context, field) == value


@pytest.mark.parametrize("query", ["", " ", "\t\n", "\u3000", "\u00a0 \u2003"])
@pytest.mark.parametrize("task", [*TASKS, "trailers"])
def test_a_whitespace_only_query_counts_as_missing(task: str, query: str) -> None:
    raw = Context(task, source_entity_id="e1")
    assert fill(replace(raw, query=query), DEFAULT_RULES, NAMES.get) == fill(raw, DEFAULT_RULES, NAMES.get)


def test_the_query_of_the_client_stays_as_it_was_typed() -> None:
    filled = fill(Context(SEARCH, query="  Toy Stor"), DEFAULT_RULES, NAMES.get)
    assert filled.context.query == "  Toy Stor"
    assert filled.rule_of("query") is None


@pytest.mark.parametrize("history", [(), LIKED_E1])
def test_more_like_this_needs_its_source(history: tuple[HistoryEvent, ...]) -> None:
    with pytest.raises(MissingFieldError, match="task 'more_like_this' needs 'source_entity_id'") as caught:
        fill(Context(MORE_LIKE_THIS, "u", "heat", history=history), DEFAULT_RULES, NAMES.get)
    assert (caught.value.task, caught.value.field) == (MORE_LIKE_THIS, "source_entity_id")


@pytest.mark.parametrize("task", [*TASKS, "trailers"])
def test_a_full_context_is_left_alone(task: str) -> None:
    full = replace(FULL, task=task)
    filled = fill(full, DEFAULT_RULES, NAMES.get)
    assert filled.context == full
    assert filled.imputed == ()


def test_each_missing_field_is_listed_once_and_no_other() -> None:
    filled = fill(Context(HOMEPAGE, country="US", history=LIKED_E1), DEFAULT_RULES, NAMES.get)
    assert sorted(entry.field for entry in filled.imputed) == ["query", "source_entity_id", "user_id"]


def test_the_last_engaged_is_the_newest_positive_event() -> None:
    assert Context(HOMEPAGE, history=LIKED_E1).last_engaged() == "e1"
    assert Context(HOMEPAGE, history=LIKED_NOTHING).last_engaged() is None
    assert Context(HOMEPAGE).last_engaged() is None


def test_rules_without_an_end_and_unknown_rules_are_refused() -> None:
    endless = {**DEFAULT_RULES, HOMEPAGE: {**DEFAULT_RULES[HOMEPAGE], "query": ("row_title",)}}
    with pytest.raises(ValueError, match="do not end with a null rule"):
        fill(Context(HOMEPAGE), endless, NAMES.get)
    strange = {**DEFAULT_RULES, HOMEPAGE: {**DEFAULT_RULES[HOMEPAGE], "query": ("horoscope", "null_query")}}
    with pytest.raises(ValueError, match="unknown imputation rule 'horoscope'"):
        fill(Context(HOMEPAGE), strange, NAMES.get)


def test_rules_make_the_round_trip_through_json() -> None:
    assert rules_from_json(json.loads(json.dumps(rules_to_json(DEFAULT_RULES)))) == DEFAULT_RULES


IDS = st.sampled_from([*NAMES, "gone"])
TEXTS = st.one_of(st.none(), st.text(max_size=12))
EVENTS = st.lists(st.builds(HistoryEvent, IDS, st.sampled_from([0.0, 1.0, 5.0])), max_size=4).map(tuple)
CONTEXTS = st.builds(
    Context,
    task=st.sampled_from([*TASKS, "trailers"]),
    user_id=st.one_of(st.none(), st.just("u")),
    query=TEXTS,
    country=st.one_of(st.none(), st.just("US")),
    source_entity_id=IDS,
    history=EVENTS,
    row_title=TEXTS,
)


@given(CONTEXTS, st.booleans())
def test_filling_a_filled_context_changes_nothing(context: Context, without_source: bool) -> None:
    if without_source and context.task != MORE_LIKE_THIS:
        context = replace(context, source_entity_id=None)
    once = fill(context, DEFAULT_RULES, NAMES.get)
    twice = fill(once.context, DEFAULT_RULES, NAMES.get)
    assert twice.context == once.context
    assert {(e.field, e.rule) for e in twice.imputed} <= {(e.field, e.rule) for e in once.imputed}
    assert all(entry.value is None for entry in twice.imputed)


@given(CONTEXTS)
def test_every_fill_is_reported_and_nothing_else_moves(context: Context) -> None:
    filled = fill(context, DEFAULT_RULES, NAMES.get)
    for field in ("user_id", "country", "source_entity_id", "query"):
        before, after = getattr(context, field), getattr(filled.context, field)
        if filled.rule_of(field) is None:
            assert after == before
        else:
            assert before is None or not before.strip()
            assert Imputed(field, after, filled.rule_of(field) or "") in filled.imputed
    assert filled.context.history == context.history


@given(CONTEXTS)
def test_rules_from_json_fill_the_same(context: Context) -> None:
    restored = rules_from_json(json.loads(json.dumps(rules_to_json(DEFAULT_RULES))))
    assert fill(context, restored, NAMES.get) == fill(context, DEFAULT_RULES, NAMES.get)
