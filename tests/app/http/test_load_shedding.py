"""Load shedding answers raw bytes as the full path does, and only where they are plainly a ranking request."""

from __future__ import annotations

import asyncio
import json

import pytest
from app_fakes import app_of, client_of
from hypothesis import given
from hypothesis import strategies as st

from app.execution.admission import Priority
from app.http.load_shedding import LoadShedder, plain_ranking

pytestmark = pytest.mark.anyio
BODY = b'{"context": {"task": "search"}}'


def request(path: str = "/v1/rank", body: bytes = BODY, *more: str, length: int | None = None) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: a", f"Content-Length: {len(body) if length is None else length}", *more]
    return "\r\n".join([*lines, "", ""]).encode() + body


@pytest.mark.parametrize("path", ["/v1/rank", "/v1/search", "/v1/homepage", "/v1/more-like-this/a%20b", "/v1/rank?x=1"])
def test_a_whole_ranking_request_is_recognised(path: str) -> None:
    found = plain_ranking(request(path))
    assert found is not None
    assert found[0] == path.partition("?")[0]


@pytest.mark.parametrize(
    "data",
    [
        b"", b"POST", request("/v1/events"), request("/v1/models/x/activate"), request("/v1/rank/"),
        request("/v1/more-like-this/"),
        request().replace(b"POST", b"GET"), request()[:-1], request() + b"x", request(length=3), request() * 2,
        request("/v1/rank", BODY, "Content-Length: 31"), request("/v1/rank", BODY, "Transfer-Encoding: chunked"),
        request("/v1/rank", BODY, "Expect: 100-continue"), request("/v1/rank", BODY, "Connection: Close"),
        request("/v1/more-like-this/\0"), request("/v1/more-like-this/ü"),
        request("/v1/rank", BODY, "Upgrade: h2c"), request().replace(b"HTTP/1.1", b"HTTP/1.0"),
        request().replace(b"Content-Length", b"Content-Size"), request().replace(b"31", b"+31"),
    ],
)  # fmt: skip
def test_anything_else_takes_the_full_path(data: bytes) -> None:
    assert plain_ranking(data) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_parsed_without_an_error(data: bytes) -> None:
    assert plain_ranking(data) is None
    plain_ranking(b"POST /v1/rank HTTP/1.1\r\n" + data)


async def test_load_shedding_and_the_full_path_answer_alike() -> None:
    app = app_of(max_queue_candidates=1)
    live = app.state.serving
    quick = LoadShedder(live)
    assert quick.answer(request()) is None
    async with client_of(app) as client:
        with live.admission.admitted(1, Priority.HIGH, 1e12):
            answer = quick.answer(request("/v1/rank", BODY, "X-Request-Id: mine"))
            assert quick.answer(request("/v1/events")) is None
            assert quick.answer(request("/v1/more-like-this/a")) is not None
            long = await client.post("/v1/rank", content=BODY, headers={"x-request-id": "mine"})
        await asyncio.sleep(0)  # what was refused in a turn is counted at its end
        metrics = (await client.get("/metrics")).text
    assert answer is not None
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert status.split(" ", 2)[1] == "503"
    assert json.loads(body) == long.json()
    assert json.loads(body)["request_id"] == "mine"
    assert int(headers["content-length"]) == len(body)
    assert set(long.headers) - set(headers) == {"server-timing"}
    assert {name: long.headers[name] for name in headers} == headers
    assert 'unirank_requests_total{route="/v1/rank",status="503"} 2.0' in metrics  # the long way stops in its route
    assert 'unirank_requests_total{route="/v1/more-like-this/{entity_id}",status="503"} 1.0' in metrics
    assert 'unirank_shed_total{priority="high"} 3.0' in metrics
    assert 'unirank_errors_total{code="overloaded"} 3.0' in metrics


async def test_an_admitted_request_takes_room_at_once() -> None:
    live = app_of(max_queue_candidates=10).state.serving
    quick = LoadShedder(live)
    with live.admission.admitted(6, Priority.HIGH, 1e12):
        pass  # from now on a ranking usually has six candidates
    assert [quick.answer(request()) is None for _ in range(4)] == [True, True, False, False]
    await asyncio.sleep(0)
    assert quick.answer(request()) is None, "what came in the turn before is admitted or gone"
