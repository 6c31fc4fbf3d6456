"""A body that is not JSON, breaks the contract, is too large or never ends is refused with 4xx and the place of each
fault.
"""

from __future__ import annotations

import asyncio
import time

import pytest
from app_fakes import FakeModel, app_of, client_of
from problem_documents import assert_problem

pytestmark = pytest.mark.anyio


def search(more: bytes) -> bytes:
    """A body that is well but for `more`."""
    return b'{"context":{"task":"search"},%s}' % more


def context(more: bytes) -> bytes:
    """A body whose context is well but for `more`."""
    return b'{"context":{"task":"search",%s}}' % more


LONG = b'"%s"' % (b"x" * 257)
DEEP = b"[" * 40 + b"]" * 40
UNPARSABLE = {
    "nothing": b"",
    "blank": b"  ",
    "not json": b"task=search",
    "cut off": b'{"context":{"task":"se',
    "two documents": b'{"context":{"task":"search"}} {}',
    "not utf-8": b'{"context":{"task":"\xff"}}',
    "utf-16": '{"context":{"task":"search"}}'.encode("utf-16"),
    "byte order mark": b'\xef\xbb\xbf{"context":{"task":"search"}}',
    "raw control character": b'{"context":{"task":"sea\nrch"}}',
}
NOT_BUILT = {
    "filter": (search(b'"filter":{"year":1999}'), "/filter"),
    "boosts": (search(b'"boosts":[{}]'), "/boosts"),
    "pins": (search(b'"pins":["f1"]'), "/pins"),
    "diversity": (search(b'"diversity":0.5'), "/diversity"),
    "explore": (search(b'"explore":0.5'), "/explore"),
    "explain": (search(b'"explain":true'), "/explain"),
    "another model": (search(b'"model":"v0"'), "/model"),
    "context features": (context(b'"features":{"device":"tv"}'), "/context/features"),
    "candidate features": (
        search(b'"candidates":[{"id":"f1","features":{"price":3}}]'),
        "/candidates/0/features",
    ),
}
REFUSED = {
    "null": (b"null", ""),
    "array": (b"[]", ""),
    "empty object": (b"{}", "/context"),
    "NaN": (search(b'"diversity":NaN'), "/diversity"),
    "Infinity": (search(b'"boosts":[-Infinity]'), "/boosts/0"),
    "1e999": (search(b'"diversity":1e999'), "/diversity"),
    "1e999 for text": (search(b'"model":1e999'), "/model"),
    "huge integer": (search(b'"limit":' + b"9" * 5000), "/limit"),
    "lone surrogate": (context(b'"query":"\\ud800"'), "/context/query"),
    "lone low surrogate": (context(b'"query":"a\\udc00"'), "/context/query"),
    "raw surrogate": (context(b'"query":"\xed\xa0\x80"'), "/context/query"),
    "NUL": (context(b'"query":"a\\u0000"'), "/context/query"),
    "raw NUL": (context(b'"query":"a\x00"'), "/context/query"),
    "NUL in a key": (search(b'"filter":{"a\\u0000":1}'), "/filter/a\0"),
    "deep arrays": (b"[" * 100_000, ""),
    "deep objects": (b'{"context":' * 100_000, ""),
    "deep in a filter": (search(b'"filter":{"a":%s}' % DEEP), ""),
    "unknown key": (search(b'"lim/it":3'), "/lim~1it"),
    "unknown key in the context": (context(b'"mood":1'), "/context/mood"),
    "unknown key in a candidate": (search(b'"candidates":[{"id":"f1","x":1}]'), "/candidates/0/x"),
    "task is a number": (b'{"context":{"task":1}}', "/context/task"),
    "task is empty": (b'{"context":{"task":""}}', "/context/task"),
    "context is null": (b'{"context":null}', "/context"),
    "bool as number": (search(b'"limit":true'), "/limit"),
    "number as text": (search(b'"limit":"3"'), "/limit"),
    "number as bool": (search(b'"explain":0'), "/explain"),
    "limit of zero": (search(b'"limit":0'), "/limit"),
    "half a limit": (search(b'"limit":1.5'), "/limit"),
    "negative offset": (search(b'"offset":-1'), "/offset"),
    "no time": (search(b'"timeout_ms":0'), "/timeout_ms"),
    "seen is unheard of": (search(b'"seen":"maybe"'), "/seen"),
    "no candidates": (search(b'"candidates":[]'), "/candidates"),
    "candidates is text": (search(b'"candidates":"f1"'), "/candidates"),
    "candidate is null": (search(b'"candidates":["f1",null]'), "/candidates/1"),
    "candidate is empty": (search(b'"candidates":[""]'), "/candidates/0"),
    "6000 candidates": (search(b'"candidates":[%s"f1"]' % (b'"f1",' * 5999)), "/candidates"),
    "long id": (search(b'"candidates":["f1",%s]' % LONG), "/candidates/1"),
    "long excluded id": (search(b'"exclude":[%s]' % LONG), "/exclude/0"),
    "long user": (context(b'"user_id":%s' % LONG), "/context/user_id"),
    "long source": (context(b'"source_entity_id":%s' % LONG), "/context/source_entity_id"),
    "long query": (context(b'"query":"%s"' % (b"x" * 2001)), "/context/query"),
    "long history id": (context(b'"history":[%s]' % LONG), "/context/history/0"),
    "long task in the history": (
        context(b'"history":[{"entity_id":"f1","task":%s}]' % LONG),
        "/context/history/0/task",
    ),
    "long field": (search(b'"return":["year",%s]' % LONG), "/return/1"),
    "history label is text": (
        context(b'"history":[{"entity_id":"f1","label":"1"}]'),
        "/context/history/0/label",
    ),
    "unknown source": (context(b'"source_entity_id":"x"'), "/context/source_entity_id"),
    **NOT_BUILT,
}


@pytest.mark.parametrize("name", UNPARSABLE)
async def test_a_body_that_is_not_json_is_400(client, name):
    assert_problem(await client.post("/v1/rank", content=UNPARSABLE[name]), 400)


@pytest.mark.parametrize("name", REFUSED)
async def test_a_body_that_breaks_the_contract_is_422_with_its_place(client, name):
    body, where = REFUSED[name]
    problem = assert_problem(await client.post("/v1/rank", content=body), 422)
    assert problem["errors"][0]["pointer"] == where
    assert problem["errors"][0]["detail"] == problem["detail"]


@pytest.mark.parametrize("name", NOT_BUILT)
async def test_features_that_are_not_built_are_refused_as_not_supported(client, name):
    problem = assert_problem(await client.post("/v1/rank", content=NOT_BUILT[name][0]), 422)
    assert problem["errors"][0]["code"] == "not_supported"


async def test_quotes_and_backslashes_cost_linear_time(client):
    body = b"[" * 40 + b'"' + b'\\"' * 900_000
    began = time.monotonic()
    assert_problem(await client.post("/v1/rank", content=body), 422)
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("path", ["/v1/rank", "/v1/search", "/v1/homepage", "/v1/more-like-this/f1"])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_of_ten_megabytes_is_refused_on_every_surface(client, path, chunked):
    async def stream():
        for _ in range(10):
            yield b" " * 1_000_000

    body = stream() if chunked else b" " * 10_000_000
    assert_problem(await client.post(path, content=body), 413)


@pytest.mark.parametrize("path", ["/v1/search", "/v1/homepage", "/v1/more-like-this/f1"])
@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"querry":"toy"}', b'{"query":3}', b'{"query":"\\ud800"}', b'{"explain":true}']
)
async def test_bodies_of_search_homepage_and_more_like_this_are_as_strict(client, path, body):
    response = await client.post(path, content=body)
    assert_problem(response, 400 if body == b"{" else 422)


async def test_pointers_into_these_bodies_start_at_the_body(client):
    problem = assert_problem(await client.post("/v1/search", json={"user_id": "x" * 257, "features": {"a": 1}}), 422)
    assert [error["pointer"] for error in problem["errors"]] == ["/user_id", "/features"]


async def test_all_faults_of_a_body_are_named_but_not_thousands(client):
    body = {"context": {"task": "search"}, "candidates": ["x" * 300] * 500}
    assert len(assert_problem(await client.post("/v1/rank", json=body), 422)["errors"]) == 20


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
async def test_the_content_type_does_not_matter(client, kind):
    body = b'{"context":{"task":"search"}}'
    response = await client.post("/v1/rank", content=body, headers={"content-type": kind})
    assert response.status_code == 200


async def test_a_body_that_never_ends_is_refused_with_408():
    async def slow():
        yield b"{"
        await asyncio.sleep(30)

    async with client_of(app_of(FakeModel(), body_timeout_ms=50)) as client:
        assert_problem(await client.post("/v1/rank", content=slow()), 408)
