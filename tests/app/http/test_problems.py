"""A wrong route, method or query string, or a crash, is answered by one problem document that carries the request id
and no secret.
"""

from __future__ import annotations

import pytest
from app_fakes import FakeModel, app_of, client_of
from problem_documents import assert_problem

pytestmark = pytest.mark.anyio
BAD_QUERIES = [
    "q=%ff",
    "q=a%00",
    "q=%ED%A0%80",
    "limit=x",
    "limit=-1",
    "limit=0",
    "limit=1.5",
    "limit=%D9%A3",
    "limit=999999999999",
    "querry=toy",
    "q=a&q=b",
    "seen=maybe",
    "user_id=" + "x" * 257,
    "q=" + "x" * 2001,
]


@pytest.mark.parametrize("query", BAD_QUERIES)
async def test_bad_query_strings_are_refused(client, query):
    assert_problem(await client.get(f"/v1/search?{query}"), 422)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nope", 404),
        ("GET", "/v1/rank/", 404),
        ("GET", "/v1/rank", 405),
        ("DELETE", "/v1/search", 405),
        ("POST", "/livez", 405),
        ("GET", "/v1/more-like-this/f1", 405),
        ("POST", "/v1/more-like-this/nope", 404),
        ("POST", "/v1/more-like-this/" + "x" * 300, 404),
        ("GET", "/v1/entities/nope", 404),
        ("GET", "/v1/entities/%ff%00%ed%a0%80", 404),
        ("PUT", "/v1/entities", 404),
        ("POST", "/%00", 404),
    ],
)
async def test_wrong_routes_and_methods_are_problems(client, method, path, status):
    assert_problem(await client.request(method, path), status)


@pytest.mark.parametrize(
    ("path", "methods"),
    [("/v1/search", "GET, HEAD, POST"), ("/v1/models/x/split", "DELETE, POST"), ("/livez", "GET, HEAD")],
)
async def test_a_wrong_method_is_told_which_are_right(client, path, methods):
    assert (await client.request("PATCH", path)).headers["allow"] == methods


async def test_a_crash_is_a_problem_document_without_the_error_message():
    model = FakeModel()
    model.crash = RuntimeError("password=123")
    async with client_of(app_of(model)) as client:
        response = await client.post("/v1/rank", json={"context": {"task": "search"}})
        assert "password" not in response.text
        assert_problem(response, 500)
        model.crash = None
        assert (await client.post("/v1/rank", json={"context": {"task": "search"}})).status_code == 200


@pytest.mark.parametrize(
    ("given_id", "taken"),
    [("abc-1.2:3_", True), ("x" * 128, True), ("x" * 129, False), ("a b", False), ("é", False), ("", False)],
)
async def test_a_request_id_of_the_caller_is_used_where_it_is_harmless(client, given_id, taken):
    response = await client.get("/nope", headers={"x-request-id": given_id.encode()})
    assert (response.headers["x-request-id"] == given_id) is taken
    assert response.json()["request_id"] == response.headers["x-request-id"]


async def test_the_trace_id_becomes_the_request_id(client):
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    response = await client.get("/livez", headers={"traceparent": trace})
    assert response.headers["x-request-id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
