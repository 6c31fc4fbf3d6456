"""No connection is kept without use: unread bodies, answers that nobody reads, idle connections above the limit, too
many requests sent ahead.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from app_fakes import FakeModel, app_of
from chaos.open_loop import answered
from fastapi import FastAPI
from raw_connection import LIVE, SEARCH, port_of, say

from app.http.auth.keys import new_key, write_keys
from app.http.auth.scopes import Scope

pytestmark = pytest.mark.anyio

WHOLE = LIVE + b"\r\n"
CHUNKED = b"POST /v1/search HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits for seconds."""
    monkeypatch.setattr("app.http.protocol.LINGER_S", 0.2)


def guarded(folder: Path, **changes: object) -> tuple[FastAPI, str]:
    """A service that asks for keys, and one that may rank."""
    secret, key = new_key("k", [Scope.RANK])
    write_keys(folder / "keys.toml", [key])
    return app_of(api_keys_file=folder / "keys.toml", **changes), secret


async def ended(reader: asyncio.StreamReader) -> bytes:
    """What is said until the service hangs up."""
    said = b""
    with suppress(ConnectionError):
        while data := await asyncio.wait_for(reader.read(65_536), 5):
            said += data
    return said


async def gone(writer: asyncio.StreamWriter) -> None:
    """Return once the service holds this connection no more: what is sent is refused."""

    async def send() -> None:
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    with pytest.raises(ConnectionError):
        await asyncio.wait_for(send(), 5)


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"POST /v1/rank", 401),
        (b"POST /v1/events", 401),
        (b"GET /livez", 200),
        (b"POST /nowhere", 401),
        (b"POST /livez", 405),
        (b"POST /docs", 405),
    ],
)
@pytest.mark.parametrize("length", [b"Content-Length: 100", b"Transfer-Encoding: chunked",
                                    b"Content-Length: 100\r\nExpect: 100-continue"])  # fmt: skip
async def test_an_answer_to_an_unread_body_ends_the_connection(tmp_path, request_line, status, length):
    async with port_of(guarded(tmp_path)[0]) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request_line + b" HTTP/1.1\r\nHost: x\r\n" + length + b"\r\n\r\n")
        code, head = await answered(reader)
        writer.write(b"1")
        assert code == status
        assert b"\r\nconnection: close\r\n" in head.lower()
        assert await ended(reader) == b""
        await gone(writer)
        writer.close()


@pytest.mark.parametrize(
    ("changes", "pieces", "status"),
    [
        ({"max_body_bytes": 50}, [SEARCH % 100, b"x" * 60], 413),
        ({"max_body_bytes": 50}, [CHUNKED, b"40\r\n" + b"x" * 64 + b"\r\n"], 413),
        ({"body_timeout_ms": 100}, [SEARCH % 100, b"{"], 408),
        ({"body_timeout_ms": 100}, [CHUNKED, *[b"1\r\n \r\n"] * 8], 408),
        ({"body_timeout_ms": 200}, [SEARCH % 100, *[b" "] * 60], 408),
    ],
)
async def test_a_body_that_is_not_read_to_its_end_ends_the_connection(changes, pieces, status):
    async with port_of(**changes) as port:
        said = await say(port, pieces, 0.02)
    assert said.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\nconnection: close\r\n" in said.lower()


async def test_a_caller_that_keeps_sending_can_still_read_the_answer(tmp_path):
    async with port_of(guarded(tmp_path)[0]) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(SEARCH % 2_000_000 + b"x" * 2_000_000)
        assert (await answered(reader))[0] == 401
        writer.close()


async def test_a_refused_request_whose_body_was_sent_keeps_its_connection(tmp_path):
    app, secret = guarded(tmp_path)
    async with port_of(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for key, status in ((b"", 401), (secret.encode(), 200), (b"", 401), (secret.encode(), 200)):
            writer.write((SEARCH % 2).replace(b"\r\n\r\n", b"\r\nX-API-Key: " + key + b"\r\n\r\n") + b"{}")
            assert (await answered(reader))[0] == status
        writer.close()


async def test_pipelined_requests_are_answered_in_order():
    async with port_of() as port:
        said = await say(port, [WHOLE * 20, SEARCH % 15 + b'{"query":"toy"}' + WHOLE, SEARCH % 2 + b"{"])
        assert said.count(b"HTTP/1.1 200 ") == 22


@pytest.mark.parametrize(
    ("pieces", "status"),
    [
        ([WHOLE * 500], 400),
        ([b"GET /v1/search?" + b"a&" * 300 + b" HTTP/1.1\r\n\r\n"], 414),
        ([b"GET /v1/search?q=" + b"a" * 40_000 + b" HTTP/1.1\r\n\r\n"], 414),
        ([LIVE + b"a:\r\n" * 300 + b"\r\n"], 431),
        ([CHUNKED, b"0\r\n" + b"a:\r\n" * 300], 431),
    ],
)
async def test_too_many_pipelined_requests_are_refused(pieces, status):
    async with port_of() as port:
        said = await say(port, pieces)
    problem = json.loads(said[said.rindex(b"\r\n\r\n") :])
    assert problem["status"] == status
    assert said.count(b"HTTP/1.1 %d " % status) == 1


@pytest.mark.parametrize("upgrade", [b"websocket", b"h2c"])
async def test_an_upgrade_does_not_bypass_the_bounds(monkeypatch, upgrade):
    monkeypatch.setattr("app.http.protocol.HEAD_WITHIN_S", 0.2)
    head = b"Connection: Upgrade\r\nUpgrade: " + upgrade + b"\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
    async with port_of(keep_alive_s=1) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n" + head + b"dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        assert (await answered(reader))[0] == 200
        await gone(writer)
        writer.close()


async def test_an_answer_that_nobody_reads_is_dropped(monkeypatch):
    monkeypatch.setattr("app.http.protocol.TAKEN_WITHIN_S", 0.2)
    app = app_of(FakeModel(3_000))
    async with port_of(app) as port:
        plug = socket.socket()
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
        plug.connect(("127.0.0.1", port))
        plug.setblocking(False)
        body = json.dumps({"candidates": [f"f{n}" for n in range(3_000)], "return": ["display_name", "year"]}).encode()
        loop = asyncio.get_running_loop()
        asking = loop.create_task(ask_for_ever(plug, SEARCH % len(body) + body))
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(asking, 10)
        plug.close()


async def ask_for_ever(plug: socket.socket, request: bytes) -> None:
    while True:
        await asyncio.get_running_loop().sock_sendall(plug, request)


async def open_all(port: int, count: int, first: Sequence[bytes]) -> list[asyncio.StreamWriter]:
    writers = []
    for number in range(count):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(first[number % len(first)])
        writers.append(writer)
    return writers


@pytest.mark.parametrize("first", [[b""], [b"GET /li"], [WHOLE], [b"", WHOLE, b"GET /"], [SEARCH % 100]], ids=range(5))
async def test_an_idle_connection_is_closed_to_make_room(tmp_path, first):
    app = guarded(tmp_path, max_connections=8)[0]
    async with port_of(app) as port:
        writers = await open_all(port, 40, first)
        assert (await say(port, [WHOLE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")])).startswith(
            b"HTTP/1.1 200 "
        )
        assert len(app.state.connection_limit._open) <= 8
        for writer in writers:
            writer.close()


async def test_when_all_connections_are_busy_a_new_one_gets_503():
    app = app_of(max_connections=2)
    async with port_of(app) as port:
        writers = await open_all(port, 2, [SEARCH % 2 + b"{"])
        await asyncio.sleep(0.05)
        said = await say(port, [WHOLE])
        for writer in writers:
            writer.close()
    assert said.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nretry-after: 1\r\n" in said
