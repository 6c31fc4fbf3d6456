"""Everything a user has seen is stored and not shown again, however long the history; a limit is reported when it
applies.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest
from app_fakes import FILMS, FakeModel, app_of, client_of
from hypothesis import given
from hypothesis import strategies as st

from model.artefact.build import contents_of
from model.artefact.model import Artefact
from model.config import Config
from model.context.context import HOMEPAGE, Context
from model.datasets.dataset import Dataset
from model.events.seen import SeenEntities
from model.events.table import conform
from model.learning.ranker_training import train
from model.learning.training_data import part_rows, prepare

pytestmark = pytest.mark.anyio
IDS = [f"e{row}" for row in range(6)]
Answer = dict[str, Any]


def seen_of(*events: tuple[str | None, str, int | None]) -> SeenEntities:
    rows = [
        {"ranking_id": str(n), "task": HOMEPAGE, "user_id": user, "entity_id": entity, "timestamp": time, "label": 0.0}
        for n, (user, entity, time) in enumerate(events)
    ]
    kinds = {"user_id": pl.String, "timestamp": pl.Int64}
    return SeenEntities.of(conform(pl.DataFrame(rows, schema_overrides=kinds if rows else None)), IDS)


def test_rows_are_distinct_and_the_newest_come_first() -> None:
    seen = seen_of(("ann", "e1", 5), ("bob", "e4", 1), ("ann", "e2", 9), ("ann", "e1", 1), ("ann", "e3", 5))
    assert seen.rows_of("ann").tolist() == [2, 3, 1]
    assert seen.rows_of("bob").tolist() == [4]
    assert seen.rows_of("nobody").tolist() == []


def test_rows_without_a_time_are_older_than_all_others() -> None:
    assert seen_of(("ann", "e1", None), ("ann", "e2", -5), ("ann", "e3", None)).rows_of("ann").tolist() == [2, 3, 1]


def test_a_log_without_users_has_no_seen_entities() -> None:
    seen = seen_of((None, "e1", 3))
    assert len(seen) == 0
    assert SeenEntities.from_arrays(seen.arrays()).rows_of("ann").tolist() == []


events = st.lists(st.tuples(st.sampled_from(["ann", "bob", "ł\x1f", None]), st.sampled_from(IDS), st.integers(0, 9)))


@given(events)
def test_all_seen_entities_survive_saving_and_loading(told: list[tuple[str | None, str, int | None]]) -> None:
    seen = SeenEntities.from_arrays(seen_of(*told).arrays()) if told else seen_of((None, "e0", 1))
    for user in ("ann", "bob", "ł\x1f"):
        assert {IDS[row] for row in seen.rows_of(user)} == {entity for who, entity, _ in told if who == user}


def test_a_smaller_catalogue_keeps_what_it_has() -> None:
    assert seen_of(("ann", "e5", 1), ("ann", "e2", 2), ("bob", "e5", 3)).below(5).rows_of("ann").tolist() == [2]


def test_arrays_that_disagree_are_refused() -> None:
    arrays = seen_of(("ann", "e1", 1)).arrays()
    with pytest.raises(ValueError, match="2 rows"):
        SeenEntities.from_arrays({**arrays, "seen_rows": np.array([1, 2], np.int32)})


def test_a_model_stores_more_seen_entities_than_its_histories_hold(world: Dataset, small_config: Config) -> None:
    """The histories are cut to two events, and the derived pairs among them take one."""
    short = replace(small_config.network, profile_length=2, history_length=2)
    config = Config(short, replace(small_config.training, steps=2, evaluations=1))
    run = prepare(world, config)
    artefact = Artefact(contents_of(run, train(run, 2)))
    rows = part_rows(world.events, ("train",)).filter(pl.col("user_id").is_not_null())
    for (user,), met in rows.group_by("user_id"):
        assert len(artefact.history(str(user))) <= 2
        known = {artefact.catalogue.ids[row] for row in artefact.seen(str(user))}
        assert known == set(met["entity_id"])


def test_a_saved_model_proposes_nothing_that_the_user_has_seen(artefact: Artefact) -> None:
    for user in artefact.sample_users(20):
        seen, history = artefact.seen(user), artefact.history(user)
        filled = artefact.fill(Context(HOMEPAGE, user, history=history))
        proposed = artefact.propose(artefact.encode_context(filled), artefact.entity_count, (), seen)
        source = {filled.context.source_entity_id} - {None} if filled.rule_of("source_entity_id") is None else set()
        assert {artefact.catalogue.ids[row] for row in seen} >= {event.entity_id for event in history}
        assert set(proposed) == set(artefact.catalogue.ids) - {artefact.catalogue.ids[row] for row in seen} - source


@pytest.fixture
def model() -> FakeModel:
    """u1 met forty films, the three of its history among them; f59 first."""
    fake = FakeModel()
    fake.met = {"u1": [7, 5, 3, *range(FILMS - 37, FILMS)]}
    return fake


@pytest.fixture
async def client(model: FakeModel) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app_of(model)) as client:
        yield client


async def rank(client: httpx.AsyncClient, **body: Any) -> Answer:
    context = {"task": "homepage", "user_id": "u1", **body.pop("context", {})}
    answer = await client.post("/v1/rank", json={"context": context, **body})
    assert answer.status_code == 200, answer.text
    result: Answer = answer.json()
    return result


def ids(answer: Answer) -> list[str]:
    return [item["id"] for item in answer["items"]]


async def test_a_homepage_shows_nothing_seen_and_is_still_filled(client: httpx.AsyncClient) -> None:
    answer = await rank(client, limit=FILMS)
    assert set(ids(answer)) == {f"f{n}" for n in range(FILMS - 37)} - {"f3", "f5", "f7"}
    assert answer["degraded"] == []
    page = await client.post("/v1/homepage", json={"user_id": "u1", "rows": [{"row_id": "home", "limit": 20}]})
    assert len(page.json()["rows"][0]["items"]) == 20


async def test_given_candidates_that_were_seen_are_dropped_or_demoted(client: httpx.AsyncClient) -> None:
    given = ["f59", "f0", "f3", "f1", "stranger"]
    assert ids(await rank(client, candidates=given)) == ["f1", "f0", "f3", "f59", "stranger"]
    assert ids(await rank(client, candidates=given, seen="drop")) == ["f1", "f0", "stranger"]
    assert ids(await rank(client, candidates=given, seen="demote")) == ["f1", "f0", "f3", "f59", "stranger"]
    assert ids(await rank(client, candidates=["f3", "f59", "f4"], seen="demote")) == ["f4", "f3", "f59"]


async def test_proposed_candidates_that_were_seen_can_be_demoted(client: httpx.AsyncClient) -> None:
    shown = ids(await rank(client, limit=FILMS, seen="demote"))
    assert len(shown) == FILMS
    assert set(shown[-40:]) == {"f3", "f5", "f7", *(f"f{n}" for n in range(FILMS - 37, FILMS))}


async def test_a_history_in_the_request_replaces_what_was_seen(client: httpx.AsyncClient) -> None:
    shown = ids(await rank(client, context={"history": ["f20"]}, limit=FILMS))
    assert len(shown) == FILMS - 1


async def test_the_limit_keeps_the_newest_and_is_reported_where_it_applies(model: FakeModel) -> None:
    async with client_of(app_of(model, max_seen=10)) as client:
        answer = await rank(client, limit=FILMS)
        assert answer["degraded"] == ["seen_limit"]
        assert len(ids(answer)) == FILMS - 10
        assert (await rank(client, limit=FILMS, seen="keep"))["degraded"] == []
        assert (await rank(client, context={"user_id": "u2"}))["degraded"] == []
