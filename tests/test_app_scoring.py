"""Scoring and what may go wrong inside it: deadlines, values that are not finite, overload, hung callers."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest
from app_fakes import FakeModel, app_of, client_of
from hypothesis import given, settings
from hypothesis import strategies as st

from app import rerank
from app.errors import OverloadedError
from app.scoring import CHUNK, Permits

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def rank(client, **body: object) -> dict:
    response = await client.post("/v1/rank", json={"context": {"task": "search"}, **body})
    assert response.status_code == 200, response.text
    return response.json()


async def test_candidates_past_the_deadline_go_last_without_a_score():
    model = FakeModel(4 * CHUNK)
    model.chunk_s = 0.15
    candidates = list(model.entities)
    async with client_of(app_of(model)) as client:
        began = time.monotonic()
        answer = await rank(client, candidates=candidates, timeout_ms=250)
        assert time.monotonic() - began < 0.45
    assert answer["degraded"] == ["deadline"]
    assert answer["coverage"] == {"requested": 4 * CHUNK, "scored": CHUNK}
    scores = [item["score"] for item in answer["items"]]
    assert None not in scores[:CHUNK]
    assert set(scores[CHUNK:]) == {None}
    assert [item["id"] for item in answer["items"]][CHUNK:] == candidates[CHUNK:]


async def test_a_caller_behind_a_slow_one_gets_its_answer_in_time():
    model = FakeModel()
    model.chunk_s = 0.4
    async with client_of(app_of(model)) as client:
        slow = asyncio.create_task(rank(client))
        await asyncio.sleep(0.05)
        began = time.monotonic()
        answer = await rank(client, candidates=["f2", "f1"], timeout_ms=50)
        assert time.monotonic() - began < 0.3
        assert answer["degraded"] == ["deadline"]
        assert [item["id"] for item in answer["items"]] == ["f2", "f1"]
        assert (await slow)["degraded"] == []
        assert model.scored == 60  # what waited past its deadline was never computed


async def test_chunks_do_not_change_scores():
    model = FakeModel(CHUNK + 50)
    async with client_of(app_of(model)) as client:
        many = await rank(client, candidates=list(model.entities))
        few = await rank(client, candidates=[f"f{CHUNK + 10}", "f3"])
    scores = {item["id"]: item["score"] for item in many["items"]}
    assert all(scores[item["id"]] == item["score"] for item in few["items"])


async def test_a_logit_that_is_not_finite_goes_last_and_is_flagged():
    model = FakeModel()
    async with client_of(app_of(model)) as client:
        before = await rank(client, candidates=["f1", "f2", "f3", "nope"])
        model.infinite = {"f1"}
        after = await rank(client, candidates=["f1", "f2", "f3", "nope"])
    assert [item["id"] for item in after["items"]] == ["f3", "f2", "f1", "nope"] or after["items"][2]["id"] == "f1"
    assert after["items"][2]["score"] is None
    assert after["degraded"] == ["score_not_finite"]
    assert after["coverage"] == {"requested": 4, "scored": 2}
    scores = {item["id"]: item["score"] for item in before["items"]}
    assert all(item["score"] == scores[item["id"]] for item in after["items"] if item["id"] in ("f2", "f3"))


async def test_overload_is_503_before_any_work():
    model = FakeModel()
    model.chunk_s = 0.1
    async with client_of(app_of(model, max_queue=2)) as client:
        body = {"context": {"task": "search"}, "candidates": ["f1"]}
        responses = await asyncio.gather(*(client.post("/v1/rank", json=body) for _ in range(6)))
        refused = [response for response in responses if response.status_code == 503]
        assert sorted(response.status_code for response in responses) == [200, 200, 503, 503, 503, 503]
        assert model.scored == 2
        assert all(response.headers["retry-after"] == "1" for response in refused)
        assert refused[0].json()["type"] == "urn:unirank:problem:overloaded"
        assert (await client.post("/v1/rank", json=body)).status_code == 200


def test_a_permit_comes_back_after_an_error():
    permits = Permits(1)

    def fail() -> None:
        with permits.one():
            raise KeyError("in the middle")

    with pytest.raises(KeyError):
        fail()
    with permits.one(), pytest.raises(OverloadedError), permits.one():
        pass
    assert permits.taken == 0


LOGITS = st.lists(st.floats(-3, 3, width=32) | st.just(float("nan")), max_size=12)


@settings(deadline=None)
@given(LOGITS, st.sets(st.integers(0, 11)))
def test_order_is_by_group_then_logit_then_input(values, demoted):
    ids = [str(place) for place in range(len(values))]
    places = rerank.order(ids, np.array(values, np.float32), {str(place) for place in demoted})

    def key(place: int) -> tuple[int, float, int]:
        unscored = bool(np.isnan(values[place]))
        group = 2 * unscored + (place in demoted)
        return group, 0.0 if unscored else -values[place], place

    assert places == sorted(range(len(values)), key=key)
