"""Scoring keeps to the deadline, orders by group, logit and input, flags scores that are not finite, and sheds
overload.
"""

from __future__ import annotations

import asyncio
import json
import time

import numpy as np
import pytest
from app_fakes import FakeModel, app_of, client_of
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st

from app.execution.scheduler import Scheduler
from app.ranking import ordering
from app.ranking.scoring import CHUNK

pytestmark = pytest.mark.anyio


async def rank(client, **body: object) -> dict:
    response = await client.post("/v1/rank", json={"context": {"task": "search"}, **body})
    assert response.status_code == 200, response.text
    return response.json()


async def test_candidates_past_the_deadline_go_last_without_a_score():
    model = FakeModel(4 * CHUNK)
    model.chunk_s = 0.15
    candidates, took = list(model.entities), []
    async with client_of(app_of(model)) as client:
        for _ in range(3):  # one slow try is the machine's
            began, model.scored = time.monotonic(), 0
            answer = await rank(client, candidates=candidates, timeout_ms=250)
            took.append(time.monotonic() - began)
    assert min(took) < 0.6
    assert answer["degraded"] == ["deadline"]
    done = answer["coverage"]["scored"]
    assert answer["coverage"]["requested"] == 4 * CHUNK
    assert done == model.scored
    assert 0 < done <= 2 * CHUNK  # what was begun before the deadline counts
    scores = [item["score"] for item in answer["items"]]
    assert None not in scores[:done]
    assert set(scores[done:]) == {None}
    assert [item["id"] for item in answer["items"]][done:] == candidates[done:]


async def test_a_caller_behind_slow_ones_gets_its_answer_in_time():
    model = FakeModel()
    model.chunk_s = 0.06
    async with client_of(app_of(model)) as client:
        slow = [asyncio.create_task(rank(client, candidates=list(model.entities))) for _ in range(4)]
        await asyncio.sleep(0)  # they are under way
        answer = await rank(client, candidates=["f2", "f1"], timeout_ms=50)
        assert answer["degraded"] == ["deadline"]
        assert [item["id"] for item in answer["items"]] == ["f2", "f1"]
        assert not all(task.done() for task in slow)
        assert [(await task)["degraded"] for task in slow] == [[]] * 4
        assert model.scored == 4 * 60  # what waited past its deadline was never computed


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
    async with client_of(app_of(model, max_queue_candidates=2)) as client:
        body = {"context": {"task": "search"}, "candidates": ["f1"]}
        responses = await asyncio.gather(*(client.post("/v1/rank", json=body) for _ in range(6)))
        refused = [response for response in responses if response.status_code == 503]
        assert sorted(response.status_code for response in responses) == [200, 200, 503, 503, 503, 503]
        assert model.scored == 2
        assert all(response.headers["retry-after"] == "1" for response in refused)
        assert refused[0].json()["type"] == "urn:unirank:problem:overloaded"
        assert (await client.post("/v1/rank", json=body)).status_code == 200
        metrics = (await client.get("/metrics")).text
    assert 'unirank_shed_total{priority="high"} 4.0' in metrics
    assert 'unirank_queue_candidates{priority="high"} 0.0' in metrics


async def test_searches_go_before_homepages_and_low_priority_goes_last():
    app = app_of(FakeModel())
    done = []
    waiting = [("home", "homepage", None), ("low search", "search", "low"), ("high home", "homepage", "high"),
               ("search", "search", None)]  # fmt: skip
    async with client_of(app) as client:

        async def ask(name: str, task: str, priority: str | None) -> None:
            body = {"context": {"task": task}, "candidates": ["f1"], "priority": priority}
            assert (await client.post("/v1/rank", json=body)).status_code == 200
            done.append(name)

        held = asyncio.create_task(_hold_until_all_wait(app.state.serving.scheduler, len(waiting)))
        await asyncio.sleep(0)
        await asyncio.gather(held, *(ask(*entry) for entry in waiting))
    assert done == ["high home", "search", "home", "low search"]


async def _hold_until_all_wait(scheduler: Scheduler, count: int) -> None:
    """Start no work before `count` pieces of it are queued, however slow the machine is."""
    scheduler._scheduled = True
    while len(scheduler._queue) < count:
        await asyncio.sleep(0)
    scheduler._run_turn(asyncio.get_running_loop())


async def test_work_for_a_caller_who_disconnected_is_dropped():
    model = FakeModel()
    model.chunk_s = 0.05
    app = app_of(model)
    body = {"context": {"task": "search"}, "candidates": ["f1"]}
    async with client_of(app) as client:
        before = [asyncio.create_task(client.post("/v1/rank", json=body)) for _ in range(3)]
        gone = asyncio.create_task(_hung_up(app, body))
        assert [(await task).status_code for task in before] == [200] * 3
        assert await gone == 499
        assert model.scored == 3
        metrics = (await client.get("/metrics")).text
    assert 'unirank_requests_total{route="/v1/rank",status="499"} 1.0' in metrics
    assert 'unirank_queue_candidates{priority="high"} 0.0' in metrics


async def _hung_up(app: FastAPI, body: dict[str, object]) -> int:
    """The status that a request ends with whose caller leaves as soon as it has sent its body."""
    messages = [{"type": "http.request", "body": json.dumps(body).encode()}, {"type": "http.disconnect"}]
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        return messages.pop(0)

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/rank", "headers": [], "query_string": b"", "app": app}
    await app({**scope, "server": ("test", 80), "scheme": "http"}, receive, send)
    return int(str(sent[0]["status"]))


async def test_without_time_to_retrieve_the_answer_is_empty_and_not_an_error():
    model = FakeModel()
    model.propose_s = 0.2
    async with client_of(app_of(model)) as client:
        slow = asyncio.create_task(client.post("/v1/search", json={"query": "toy"}))
        await asyncio.sleep(0.01)
        late = (await client.post("/v1/search", json={"query": "toy", "timeout_ms": 50})).json()
        assert (late["items"], late["degraded"]) == ([], ["deadline"])
        await slow


LOGITS = st.lists(st.floats(-3, 3, width=32) | st.just(float("nan")), max_size=12)


@settings(deadline=None)
@given(LOGITS, st.sets(st.integers(0, 11)))
def test_order_is_by_group_then_logit_then_input(values, demoted):
    ids = [str(place) for place in range(len(values))]
    logits = np.array(values, np.float32)
    ranked = ordering.by_score(logits)
    ids, logits = [ids[place] for place in ranked], logits[ranked]
    behind = ordering.demoted_last(ids, logits, {str(place) for place in demoted})
    places = [int(ids[place]) for place in behind]

    def key(place: int) -> tuple[int, float, int]:
        unscored = bool(np.isnan(values[place]))
        group = 2 * unscored + (place in demoted)
        return group, 0.0 if unscored else -values[place], place

    assert places == sorted(range(len(values)), key=key)
