"""Proposals: each retriever gets its share, nothing comes twice, and asking for more begins with what less gives."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.artefact.model import Artefact
from model.context.context import HOMEPAGE, MORE_LIKE_THIS, SEARCH, Context
from model.retrieval.retrievers import RetrievalRequest, merge

ROWS = st.lists(st.integers(0, 60), unique=True, max_size=40).map(lambda rows: np.array(rows, np.int64))
SHARES = st.sampled_from([0.2, 0.4, 1.0, 4.0])


# ---- merging ------------------------------------------------------------------------------------------------


@given(st.dictionaries(st.sampled_from("abc"), ROWS), st.dictionaries(st.sampled_from("abc"), SHARES))
def test_merging_loses_nothing_and_repeats_nothing(lists: dict[str, np.ndarray], shares: dict[str, float]) -> None:
    merged = merge(lists, shares).tolist()
    assert len(merged) == len(set(merged))
    assert set(merged) == {row for rows in lists.values() for row in rows.tolist()}


@given(ROWS, ROWS, SHARES, st.integers(0, 40))
def test_shorter_lists_give_the_beginning(one: np.ndarray, two: np.ndarray, share: float, limit: int) -> None:
    shares = {"one": share, "two": 1.0}
    whole = merge({"one": one, "two": two}, shares)[:limit]
    assert merge({"one": one[:limit], "two": two[:limit]}, shares)[:limit].tolist() == whole.tolist()


def test_places_follow_the_shares() -> None:
    merged = merge({"a": np.arange(100), "b": np.arange(100, 200)}, {"a": 0.75, "b": 0.25})
    assert (merged[:40] < 100).sum() == pytest.approx(30, abs=1)


def test_a_list_that_ends_leaves_its_places_to_the_others() -> None:
    assert merge({"a": np.array([5]), "b": np.arange(3)}, {"a": 0.9, "b": 0.1}).tolist() == [5, 0, 1, 2]
    assert merge({}, {}).tolist() == []


# ---- one model ----------------------------------------------------------------------------------------------


def lists_of(artefact: Artefact, context: Context, limit: int = 30, excluded: frozenset[int] = frozenset()) -> object:
    encoded = artefact.encode_context(artefact.fill(context))
    return {
        name: rows.tolist()
        for name, rows in artefact.retriever.lists(RetrievalRequest(encoded, limit, excluded)).items()
    }


def contexts(artefact: Artefact) -> dict[str, Context]:
    user = artefact.sample_users(9)[-1]
    name = artefact.catalogue.names[artefact.catalogue.ids[0]]
    person = Context(HOMEPAGE, user_id=user, history=artefact.history(user))
    return {
        "search": Context(SEARCH, query=name),
        "row": replace(person, row_title=f"More {name}"),
        "homepage": person,
        "stranger": Context(HOMEPAGE),
        "similar": Context(MORE_LIKE_THIS, source_entity_id=artefact.catalogue.ids[0]),
    }


@pytest.mark.parametrize(
    ("case", "silent"),
    [
        ("search", {"title", "popular", "engagement", "content", "next"}),
        ("row", {"words"}),
        ("homepage", {"words", "title"}),
        ("stranger", {"words", "title", "engagement", "content", "next", "text"}),
        ("similar", {"words", "title"}),
    ],
)
def test_who_has_something_to_propose(artefact: Artefact, case: str, silent: set[str]) -> None:
    lists = lists_of(artefact, contexts(artefact)[case])
    assert {name for name, rows in lists.items() if not rows} == silent  # type: ignore[attr-defined]


@pytest.mark.parametrize("case", ["search", "row", "homepage", "stranger", "similar"])
def test_no_retriever_proposes_what_is_left_out_nor_twice_nor_too_much(artefact: Artefact, case: str) -> None:
    context, excluded = contexts(artefact)[case], frozenset(range(0, artefact.entity_count, 2))
    for name, rows in lists_of(artefact, context, 10, excluded).items():  # type: ignore[attr-defined]
        assert not excluded & set(rows), name
        assert len(rows) == len(set(rows)) <= 10, name


@pytest.mark.parametrize("case", ["search", "row", "homepage", "stranger", "similar"])
def test_asking_for_more_begins_with_what_less_gives(artefact: Artefact, case: str) -> None:
    encoded = artefact.encode_context(artefact.fill(contexts(artefact)[case]))
    proposals = [artefact.propose(encoded, limit) for limit in (1, 7, 30, 80)]
    assert all(more[: len(less)] == less for less, more in pairwise(proposals))
    assert [len(ids) for ids in proposals] == [1, 7, 30, 80]


def test_what_fits_the_title_comes_first(artefact: Artefact) -> None:
    name = artefact.catalogue.names[artefact.catalogue.ids[3]]
    rows = lists_of(artefact, Context(HOMEPAGE, row_title=name))["title"]  # type: ignore[index]
    assert rows[0] == 3
