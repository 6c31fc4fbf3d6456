"""The size of a request is bounded in one place, refused with a pointer, and charged for by admission control."""

from __future__ import annotations

import asyncio

import pytest
from app_fakes import FakeModel, app_of, client_of

pytestmark = pytest.mark.anyio


def asked_of(model: FakeModel) -> list[int]:
    """The numbers of candidates that are proposed from now on."""
    asked: list[int] = []
    propose = model.propose

    def counted(filled, limit, exclude, seen):
        asked.append(limit)
        return propose(filled, limit, exclude, seen)

    model.propose = counted  # type: ignore[method-assign]
    return asked


RETRIEVED = {"context": {"task": "search"}}
TOO_FAR = [
    ({"limit": 41}, "/limit"),
    ({"limit": 1_000_000}, "/limit"),
    ({"limit": 1_000_000, "offset": 1_000_000}, "/offset"),
    ({"limit": 21, "offset": 20}, "/limit"),
    ({"limit": 1, "offset": 40}, "/offset"),
    ({"offset": 40}, "/offset"),
    ({"offset": 1_000_000}, "/offset"),
]
WITHIN = [({"limit": 40}, 40), ({"limit": 20, "offset": 20}, 40), ({"offset": 35}, 40), ({"offset": 39}, 40), ({}, 10)]


@pytest.mark.parametrize(("page", "where"), TOO_FAR)
@pytest.mark.parametrize(
    ("path", "base"),
    [("/v1/rank", RETRIEVED), ("/v1/search", {"query": "a"}), ("/v1/more-like-this/f1", {})],
)
async def test_a_page_beyond_the_candidates_that_are_retrieved_is_refused(path, base, page, where):
    model = FakeModel()
    asked = asked_of(model)
    async with client_of(app_of(model, max_candidates=40, retrieve_limit=5)) as client:
        answer = await client.post(path, json={**base, **page})
        by_link = await client.get("/v1/search", params={"q": "a", **page})
    for refused in (answer, by_link):
        assert refused.status_code == 422
        assert [(fault["pointer"], fault["code"]) for fault in refused.json()["errors"]] == [(where, "too_many")]
    assert not asked


@pytest.mark.parametrize(("page", "most"), WITHIN)
async def test_a_page_within_the_limit_is_retrieved_and_charged_for(page, most):
    model = FakeModel()
    asked = asked_of(model)
    app = app_of(model, max_candidates=40, retrieve_limit=5)
    async with client_of(app) as client:
        charged = charges_of(app)
        answer = await client.post("/v1/rank", json={**RETRIEVED, **page})
    assert answer.status_code == 200
    assert asked == charged
    assert asked[0] <= most
    offset = page.get("offset", 0)
    assert len(answer.json()["items"]) == min(page.get("limit", 10), 40 - offset)
    assert answer.json()["coverage"]["scored"] <= most


def charges_of(app) -> list[int]:
    """What admission charges from now on."""
    charged: list[int] = []
    admission = app.state.serving.admission
    admitted = admission.admitted

    def noted(candidates, priority, deadline):
        charged.append(candidates)
        return admitted(candidates, priority, deadline)

    admission.admitted = noted
    return charged


async def test_a_large_limit_of_given_candidates_is_harmless():
    app = app_of(max_candidates=40)
    async with client_of(app) as client:
        charged = charges_of(app)
        body = {**RETRIEVED, "candidates": ["f1", "f2"], "limit": 1_000_000, "offset": 1}
        assert len((await client.post("/v1/rank", json=body)).json()["items"]) == 1
    assert charged == [2]


@pytest.mark.parametrize(
    ("rows", "where"),
    [
        ([{"limit": 41}], "/rows/0/limit"),
        ([{}, {"limit": 1_000_000}], "/rows/1/limit"),
        ([{"limit": 40}] * 3, "/rows"),
        ([{"candidates": ["a"] * 40}] * 3, "/rows"),
        ([{"candidates": ["a"] * 40}, {"candidates": ["a"] * 40}, {"limit": 21}], "/rows"),
        ([{"candidates": ["a"] * 41}], "/rows/0/candidates"),
        ([{"limit": 1_000_000}] * 50, "/rows"),
    ],
)
async def test_rows_are_bounded_each_and_together(rows, where):
    model = FakeModel()
    asked = asked_of(model)
    body = {"rows": [{"row_id": str(place), **row} for place, row in enumerate(rows)]}
    async with client_of(app_of(model, max_candidates=40, max_homepage_candidates=100)) as client:
        refused = await client.post("/v1/homepage", json=body)
    assert refused.status_code == 422
    assert [(fault["pointer"], fault["code"]) for fault in refused.json()["errors"]] == [(where, "too_many")]
    assert not asked


async def test_rows_are_charged_for_by_the_candidates_that_they_request():
    model = FakeModel()
    asked = asked_of(model)
    app = app_of(model, max_candidates=40, max_homepage_candidates=100, retrieve_limit=5)
    rows = [{"row_id": "a", "limit": 30}, {"row_id": "b"}, {"row_id": "c", "candidates": ["f1"], "limit": 1_000_000}]
    async with client_of(app) as client:
        charged = charges_of(app)
        answer = await client.post("/v1/homepage", json={"rows": rows})
    assert answer.status_code == 200
    assert asked == [30, 10]
    assert charged == [41]


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("/v1/rank", "/context/history"),
        ("/v1/search", "/history"),
        ("/v1/homepage", "/history"),
        ("/v1/more-like-this/f1", "/history"),
    ],
)
@pytest.mark.parametrize(("events", "status"), [(3, 200), (4, 422)])
@pytest.mark.parametrize("event", ["f1", {"entity_id": "f1"}])
async def test_a_history_is_bounded(path, where, events, status, event):
    history = {"history": [event] * events}
    body = {"context": {"task": "search", **history}} if path == "/v1/rank" else history
    async with client_of(app_of(max_history=3)) as client:
        answer = await client.post(path, json=body)
        limits = (await client.get("/v1/limits")).json()
    assert answer.status_code == status
    assert status == 200 or answer.json()["errors"][0]["pointer"] == where
    assert limits["max_history"] == 3


READERS = [
    ("POST", "/v1/rank", "/v1/rank"),
    ("POST", "/v1/search", "/v1/search"),
    ("GET", "/v1/search", "/v1/search"),
    ("POST", "/v1/homepage", "/v1/homepage"),
    ("POST", "/v1/more-like-this/f1", "/v1/more-like-this/{entity_id}"),
    ("POST", "/v1/events", "/v1/events"),
    ("POST", "/v1/models/x/split", "/v1/models/{version}/split"),
]


@pytest.mark.parametrize(("method", "path", "route"), READERS)
@pytest.mark.parametrize("begun", [False, True])
async def test_a_caller_that_disconnects_while_sending_its_body_is_counted_as_499(method, path, route, begun, caplog):
    app = app_of()
    messages = [{"type": "http.request", "body": b'{"con', "more_body": True}] * begun + [{"type": "http.disconnect"}]
    sent: list[dict[str, object]] = []

    async def receive():
        return messages.pop(0) if messages else await asyncio.Future()

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
             "headers": [(b"content-length", b"100")], "http_version": "1.1"}  # fmt: skip
    async with client_of(app) as client:
        await app(scope, receive, send)
        metrics = (await client.get("/metrics")).text
    assert sent[0]["status"] == 499
    assert f'unirank_requests_total{{route="{route}",status="499"}} 1.0' in metrics
    assert 'status="500"' not in metrics
    assert "Traceback" not in caplog.text
