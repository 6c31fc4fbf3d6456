"""Every fault points to a place in what was sent, or to its parent where a key is missing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from app_fakes import app_of, client_of

pytestmark = pytest.mark.anyio

LONG, FILTER = "x" * 30, {"year": 1}
OPTIONS: list[tuple[dict[str, Any], list[str]]] = [
    ({"exclude": ["a", LONG]}, ["/exclude/1"]),
    ({"exclude": ["a", 1]}, ["/exclude/1"]),
    ({"exclude": ["a"] * 9}, ["/exclude"]),
    ({"return": ["year", LONG]}, ["/return/1"]),
    ({"filter": FILTER, "boosts": [1], "pins": [1]}, ["/filter", "/boosts", "/pins"]),
    ({"diversity": 0.5, "explore": 0.5, "explain": True}, ["/diversity", "/explore", "/explain"]),
    ({"model": "v0"}, ["/model"]),
    ({"priority": "urgent"}, ["/priority"]),
    ({"timeout_ms": 0}, ["/timeout_ms"]),
    ({"unknown": "maybe"}, ["/unknown"]),
    ({"boosts": [{"a": ["b", "c\0"]}]}, ["/boosts/0/a/1"]),
    ({"filter": {"a/b": {"~": "\0"}}}, ["/filter/a~1b/~0"]),
    ({"x` - at `$.context": 1}, [""]),
    ({"a/b~c": 1}, ["/a~1b~0c"]),
]
PAGE: list[tuple[dict[str, Any], list[str]]] = [
    ({"limit": 9}, ["/limit"]),
    ({"limit": 0}, ["/limit"]),
    ({"offset": 9}, ["/offset"]),
    ({"offset": 0.5}, ["/offset"]),
    ({"candidates": []}, ["/candidates"]),
    ({"candidates": ["a"] * 9}, ["/candidates"]),
    ({"candidates": ["f1", LONG, {"id": LONG}]}, ["/candidates/1", "/candidates/2"]),
    ({"candidates": ["f1", {"id": "f2", "features": {"a": 1}}]}, ["/candidates/1/features"]),
    ({"candidates": ["f1", {"id": "f2", "x": 1}]}, ["/candidates/1/x"]),
    ({"candidates": ["f1", {"features": {}}]}, ["/candidates/1/id"]),
    ({"candidates": ["f1", {"id": "f2", "features": {"a": [1]}}]}, ["/candidates/1/features"]),
    ({"candidates": ["f1", "nobody"], "unknown": "error"}, ["/candidates/1"]),
    ({"candidates": ["nobody", "f1", {"id": "none"}], "unknown": "score"}, ["/candidates/0", "/candidates/2"]),
]
CONTEXT: list[tuple[dict[str, Any], list[str]]] = [
    ({"user_id": LONG, "country": LONG}, ["/user_id", "/country"]),
    ({"user_id": 1}, ["/user_id"]),
    ({"query": "x" * 41}, ["/query"]),
    ({"query": "\ud800"}, ["/query"]),
    ({"features": {"device": "tv"}}, ["/features"]),
    ({"history": ["f1", LONG]}, ["/history/1"]),
    ({"history": [{"entity_id": LONG}]}, ["/history/0/entity_id"]),
    ({"history": [{"entity_id": "f1", "task": LONG}]}, ["/history/0/task"]),
    ({"history": [{"entity_id": "f1", "label": "1"}]}, ["/history/0/label"]),
    ({"history": [{"label": 1}]}, ["/history/0/entity_id"]),
    ({"history": ["f1"] * 9}, ["/history"]),
]
RANK: list[tuple[dict[str, Any], list[str]]] = [
    ({"context": {"task": "nothing"}}, ["/context/task"]),
    ({"context": {"task": LONG}}, ["/context/task"]),
    ({"context": {}}, ["/context/task"]),
    ({}, ["/context"]),
    ({"context": {"task": "search", "source_entity_id": "nobody"}}, ["/context/source_entity_id"]),
    ({"context": {"task": "more_like_this"}}, ["/context/source_entity_id"]),
    ({"context": {"task": "search", "mood": 1}}, ["/context/mood"]),
]
ROWS: list[tuple[list[dict[str, Any]], list[str]]] = [
    ([{"candidates": ["f1"]}, {"candidates": ["f1", "nobody"]}], ["/rows/1/candidates/1"]),
    ([{}, {"candidates": ["f1", LONG]}], ["/rows/1/candidates/1"]),
    ([{}, {"candidates": [{"id": "f1", "features": {"a": 1}}]}], ["/rows/1/candidates/0/features"]),
    ([{"candidates": ["a"] * 9}], ["/rows/0/candidates"]),
    ([{"limit": 11}], ["/rows/0/limit"]),
    ([{"title": "x" * 41}, {"filter": FILTER}], ["/rows/0/title", "/rows/1/filter"]),
    ([{"row_id": "1"}, {}], ["/rows/1/row_id"]),
    ([{"row_id": LONG}], ["/rows/0/row_id"]),
    ([{"mood": 1}], ["/rows/0/mood"]),
    ([{"limit": 8}] * 3, ["/rows"]),
    ([{}] * 4, ["/rows"]),
]
LINKS = [
    ("q=" + "x" * 41, ["/q"]),
    ("q=a%00", ["/q"]),
    ("q=a&q=b", ["/q"]),
    ("query=a", ["/query"]),
    ("user_id=" + LONG, ["/user_id"]),
    ("country=" + LONG, ["/country"]),
    ("q=" + "x" * 41 + "&country=" + LONG, ["/country", "/q"]),
    ("seen=maybe", ["/seen"]),
    ("limit=9", ["/limit"]),
    ("limit=0", ["/limit"]),
    ("limit=x", ["/limit"]),
    ("offset=9", ["/offset"]),
    ("timeout_ms=0", ["/timeout_ms"]),
    ("return=year," + LONG, ["/return"]),
    ("return=" + "a," * 65, ["/return"]),
    ("a/b=1", ["/a~1b"]),
]


def cases() -> list[tuple[str, dict[str, Any], list[str]]]:
    """Each fault on each surface that can have it."""
    found = [("/v1/rank", body, at) for body, at in RANK]
    for path in ("/v1/search", "/v1/homepage", "/v1/more-like-this/f1"):
        page = [] if path == "/v1/homepage" else PAGE
        found += [(path, body, at) for body, at in OPTIONS + CONTEXT + page]
    found += [("/v1/rank", {"context": {"task": "search"}, **body}, at) for body, at in OPTIONS + PAGE]
    found += [
        ("/v1/rank", {"context": {"task": "search", **body}}, [f"/context{place}" for place in at])
        for body, at in CONTEXT
    ]
    rows = [([{"row_id": str(place), **row} for place, row in enumerate(given)], at) for given, at in ROWS]
    return found + [("/v1/homepage", {"rows": given, "unknown": "error"}, at) for given, at in rows]


@pytest.fixture(scope="module")
async def client():
    limits = {"max_id_chars": 20, "max_query_chars": 40, "max_candidates": 8, "max_history": 8, "max_rows": 3}
    async with client_of(app_of(max_homepage_candidates=20, retrieve_limit=5, **limits)) as client:
        yield client


def is_there(document: Any, pointer: str) -> bool:
    """Whether the parent of a place is there, and the place itself unless it is a key that was not sent."""
    for part in [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]:
        if isinstance(document, list):
            document = document[int(part)]
        elif isinstance(document, dict):
            document = document.get(part)
        else:
            return False
    return True


@pytest.mark.parametrize(("path", "body", "at"), cases())
async def test_faults_of_a_body_point_into_it(client, path, body, at):
    refused = await client.post(path, content=json.dumps(body))
    assert refused.status_code == 422, refused.text
    assert [fault["pointer"] for fault in refused.json()["errors"]] == at
    assert all(is_there(body, pointer) for pointer in at)


@pytest.mark.parametrize(("query", "at"), LINKS)
async def test_faults_of_a_link_point_at_its_parameters(client, query, at):
    refused = await client.get(f"/v1/search?{query}")
    assert refused.status_code == 422, refused.text
    assert [fault["pointer"] for fault in refused.json()["errors"]] == at


def large(end: bytes) -> bytes:
    """A body whose candidates are too many bytes to be read value by value."""
    return b'{"context":{"task":"search"},"candidates":[' + b'"f1",' * 10_000 + end + b"]}"


@pytest.mark.parametrize(
    ("end", "code", "at"),
    [
        (b"NaN", "not_finite", ""),
        (b"-Infinity", "not_finite", ""),
        (b"1e999", "not_finite", "/candidates/10000"),
        (b'"\\u0000"', "nul", ""),
        (b'"a\x00"', "nul", ""),
        (b'"\\ud800"', "lone_surrogate", ""),
        (b'"\\ud800 and more of it"', "lone_surrogate", ""),
        (b'"\\ud800\\u0041"', "lone_surrogate", ""),
        (b'"\\udc00 and more of it"', "lone_surrogate", ""),
        (b'"\xed\xa0\x80"', "lone_surrogate", ""),
        (b'"\\\\u0000"', "too_many", "/candidates"),
        (b'"\\ud83d\\ude00"', "too_many", "/candidates"),
        (b'{"id":"a","mood":1}', "unknown_field", "/candidates/10000/mood"),
        (b"null", "wrong_type", "/candidates/10000"),
    ],
)
async def test_a_large_body_is_refused_for_the_same_reasons(client, end, code, at):
    refused = await client.post("/v1/rank", content=large(end))
    assert refused.status_code == 422, refused.text
    assert [(fault["pointer"], fault["code"]) for fault in refused.json()["errors"]] == [(at, code)]


@pytest.mark.parametrize("end", [b"tru", b'"\xff"', b'"\\uzzzz"', b"]", b'"\n"', b'"a'])
async def test_a_large_body_that_is_no_json_is_400(client, end):
    assert (await client.post("/v1/rank", content=large(end))).status_code == 400
