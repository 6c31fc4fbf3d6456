"""On real connections, heads that are too large, late or not HTTP, and bodies that stop, are refused in time."""

from __future__ import annotations

import asyncio
import json

import pytest
from app_fakes import app_of
from chaos.open_loop import answered
from raw_connection import LIVE, SEARCH, port_of, say

from app.execution.admission import Priority
from app.http.protocol import MOST_HEAD_BYTES

pytestmark = pytest.mark.anyio


def problem_in(said: bytes) -> dict[str, object]:
    head, _, body = said.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head
    assert b"connection: close" in head
    problem = json.loads(body)
    assert head.startswith(b"HTTP/1.1 %d " % problem["status"])
    return dict(problem)


@pytest.mark.parametrize("size", [1_000, MOST_HEAD_BYTES - 100])
async def test_a_large_head_is_accepted(size: int) -> None:
    async with port_of() as port:
        assert (await say(port, [LIVE, b"X-A: ", b"a" * size, b"\r\n\r\n"])).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "pieces",
    [
        [LIVE + b"X-A: " + b"a" * MOST_HEAD_BYTES + b"\r\n\r\n"],
        [LIVE, b"X-A: ", *[b"a" * 10_000] * 7],
        [LIVE, *(b"X-%d: a\r\n" % number for number in range(10_000))],
        [b"GET /" + b"a" * MOST_HEAD_BYTES + b" HTTP/1.1\r\n\r\n"],
        [LIVE, b"\r\n", LIVE, b"X-A: ", *[b"a" * 10_000] * 7],
    ],
    ids=["one header", "in pieces", "many headers", "path", "second request"],
)
async def test_a_head_that_is_too_large_is_refused(pieces: list[bytes]) -> None:
    async with port_of() as port:
        said = await say(port, pieces, 0.001 if len(pieces) < 20 else 0)
        assert problem_in(said[said.index(b"HTTP/1.1 431") :])["type"] == "urn:unirank:problem:head_too_large"


@pytest.mark.parametrize(
    ("pieces", "pause_s"),
    [([b"GET /li"], 0.0), ([bytes([byte]) for byte in LIVE], 0.02), ([LIVE + b"\r\n", b"GET /li"], 0.01)],
    ids=["silence", "a letter at a time", "second request"],
)
async def test_a_head_that_does_not_arrive_is_refused_after_a_while(
    monkeypatch: pytest.MonkeyPatch, pieces: list[bytes], pause_s: float
) -> None:
    monkeypatch.setattr("app.http.protocol.HEAD_WITHIN_S", 0.2)
    async with port_of() as port:
        said = await say(port, pieces, pause_s)
        assert problem_in(said[said.index(b"HTTP/1.1 408") :])["type"] == "urn:unirank:problem:head_timeout"


async def test_a_silent_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.http.protocol.HEAD_WITHIN_S", 0.1)
    async with port_of() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()


async def test_a_body_that_stops_is_refused_after_a_while() -> None:
    async with port_of(body_timeout_ms=100) as port:
        said = await say(port, [SEARCH % 100, b"{"])
        assert said.startswith(b"HTTP/1.1 408 ")
        assert b"urn:unirank:problem:body_timeout" in said


async def test_a_large_body_is_not_counted_as_head_and_the_connection_is_reused() -> None:
    body = b'{"query":"toy"' + b" " * 500_000 + b"}"
    async with port_of() as port:
        said = await say(port, [SEARCH % len(body), body, LIVE[:9], LIVE[9:] + b"\r\n"], 0.05)
        assert said.count(b"HTTP/1.1 200 ") == 2


@pytest.mark.parametrize(
    "nonsense", [b"\x16\x03\x01\x02\x00\x01", b"hello\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x00" * 100]
)
async def test_bytes_that_are_not_http_get_a_problem_document(nonsense: bytes) -> None:
    async with port_of() as port:
        assert problem_in(await say(port, [nonsense]))["type"] == "urn:unirank:problem:malformed_request"


@pytest.mark.parametrize("welcome_first", [True, False])
async def test_a_connection_with_repeated_refusals_stays_open_while_it_is_used(
    welcome_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.http.protocol.HEAD_WITHIN_S", 0.5)
    app = app_of(max_queue_candidates=1)
    async with port_of(app, keep_alive_s=1) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        statuses = []
        if welcome_first:
            statuses.append(await _status(reader, writer, LIVE + b"\r\n"))
        with app.state.serving.admission.admitted(1, Priority.HIGH, 1e12):
            for _ in range(14):
                statuses.append(await _status(reader, writer, SEARCH % 2 + b"{}"))
                await asyncio.sleep(0.1)
        assert statuses == [200] * welcome_first + [503] * 14
        assert await asyncio.wait_for(reader.read(), 2) == b"", "who asks no more is hung up on"
        writer.close()


async def _status(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> int:
    writer.write(request)
    return (await answered(reader))[0]
