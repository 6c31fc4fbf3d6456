"""A connection of the load generator: HTTP/1.1 on a bare socket, one request at a time. Reads no bodies.

A client library costs more processor time than a fast server; this costs about a fortieth of a millisecond.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast
from urllib.parse import urlsplit

LOST = 0  # the status of a request whose connection ended before the answer
_END = b"\r\n\r\n"
_LAST_CHUNK = b"\r\n0\r\n\r\n"


def request_bytes(url: str, path: str, body: bytes) -> bytes:
    """A complete request as bytes, which can be sent repeatedly."""
    head = f"POST {path} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Wire(asyncio.Protocol):
    """Calls `answered(wire, status)` once an answer is complete, or with `LOST`. `due` is set by the caller."""

    def __init__(self, answered: Callable[[Wire, int], None]) -> None:
        self._answered = answered
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._waiting = False
        self.due = 0.0

    def ask(self, request: bytes) -> None:
        """Send a request, after the previous answer. If the connection is closed, its status is `LOST`."""
        self._waiting = True
        if self._transport is None or self._transport.is_closing():
            asyncio.get_running_loop().call_soon(self._end, LOST)
        else:
            self._transport.write(request)

    def close(self) -> None:
        """Close the connection."""
        self._waiting = False
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if status := answer_status(self._buffer):
            self._buffer.clear()
            self._end(status)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._buffer.clear()
        self._end(LOST)

    def _end(self, status: int) -> None:
        if self._waiting:
            self._waiting = False
            self._answered(self, status)


def answer_status(buffer: bytearray) -> int:
    """The status of a complete answer; 0 while it is incomplete.

    >>> answer_status(bytearray(b"HTTP/1.1 200 OK\\r\\ncontent-length: 2\\r\\n\\r\\n{"))
    0
    >>> answer_status(bytearray(b"HTTP/1.1 200 OK\\r\\ncontent-length: 2\\r\\n\\r\\n{}"))
    200
    """
    end = buffer.find(_END)
    if end < 0:
        return 0
    head = bytes(buffer[:end]).lower()
    place = head.find(b"\r\ncontent-length:")
    if place < 0:
        complete = b"\r\ntransfer-encoding: chunked" not in head or buffer.endswith(_LAST_CHUNK)
    else:
        complete = len(buffer) - end - len(_END) >= int(head[place + 17 :].split(b"\r\n", 1)[0])
    return int(head[9:12]) if complete else 0


async def connect(url: str, count: int, answered: Callable[[Wire, int], None]) -> list[Wire]:
    """`count` open connections. Raises `OSError`."""
    target, loop = urlsplit(url), asyncio.get_running_loop()
    host, port = target.hostname or "", target.port or 80
    pairs = [await loop.create_connection(lambda: Wire(answered), host, port) for _ in range(count)]
    return [wire for _, wire in pairs]
