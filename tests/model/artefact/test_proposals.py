"""Shares of the retrievers follow validation: the one that finds what the ranker wants gets the places."""

from __future__ import annotations

import numpy as np

from model.artefact import proposals
from model.artefact.model import Artefact
from model.artefact.proposals import TITLE_SHARE, learn_shares
from model.context.context import HOMEPAGE, Context
from model.events.timelines import LabelledRanking


def case(lists: dict[str, list[int]], hits: list[int]) -> proposals._Case:
    return proposals._Case({name: np.array(rows) for name, rows in lists.items()}, np.array(hits))


def test_the_retriever_that_finds_the_hits_gets_the_places() -> None:
    far = list(range(1_000, 1_600))
    shares = proposals._best([case({"good": [*range(500)], "bad": far}, [90, 200, 499])])
    assert shares == {"bad": 0.0, "good": 1.0}


def test_two_retrievers_that_find_different_hits_share_the_places() -> None:
    one, two = list(range(600)), list(range(1_000, 1_600))
    shares = proposals._best([case({"one": one, "two": two}, [5, 40, 1_005, 1_040])])
    assert 0 < shares["one"] < 1
    assert shares["one"] + shares["two"] == 1


def test_without_a_difference_the_shares_are_even() -> None:
    shares = proposals._best([case({"one": [1, 2], "two": [2, 1]}, [1, 2])])
    assert abs(shares["one"] - shares["two"]) <= 0.2001


def test_a_model_learns_shares_for_each_task_with_validation_rows(artefact: Artefact) -> None:
    entities = tuple(artefact.catalogue.ids)
    everything = LabelledRanking(
        Context(HOMEPAGE), entities, np.ones(len(entities)), np.zeros(len(entities), np.int64), False
    )
    shares = learn_shares(artefact, [everything], {})
    assert set(shares) == {HOMEPAGE}
    assert shares[HOMEPAGE].pop("title") == TITLE_SHARE
    assert sum(shares[HOMEPAGE].values()) == 1


def test_a_task_without_a_relevant_row_is_left_out(artefact: Artefact) -> None:
    nothing = LabelledRanking(
        Context(HOMEPAGE), tuple(artefact.catalogue.ids[:1]), np.zeros(1), np.zeros(1, np.int64), False
    )
    assert learn_shares(artefact, [nothing], {}) == {}


def test_the_manifest_keeps_what_was_learned(artefact: Artefact) -> None:
    assert set(artefact.contents.manifest.proposals) <= set(artefact.tasks)
    assert artefact.contents.manifest.proposals
