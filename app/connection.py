"""uvicorn's HTTP connection with two bounds that it lacks: how large the head of a request is, and how long it takes.

Without them one caller fills the memory with headers that never end, or holds connections by sending nothing. Bodies
are bounded where they are read (`routes/entrance.py`).
"""

from __future__ import annotations

import asyncio

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.errors import Problem

MOST_HEAD_BYTES = 64 * 1024  # request line and headers; others take 8 to 64 KB
HEAD_WITHIN_S = 10.0
_END = b"\r\n\r\n"


class Connection(HttpToolsProtocol):
    """Answers what cannot be read with a problem document, and hangs up on who says nothing."""

    _head_bytes = 0
    _in_head = True
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The first request is waited for, like a head that began."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass on, unless the head that these bytes belong to is too large."""
        if self._in_head:
            end = data.find(_END)
            self._head_bytes += len(data) if end < 0 else end
            if self._head_bytes > MOST_HEAD_BYTES:
                self._refuse(431, "head_too_large", "Head too large", f"more than {MOST_HEAD_BYTES} bytes")
                return
        super().data_received(data)
        if self._in_head and self._head_bytes and self._late is None:
            self._wait()

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._in_head, self._head_bytes = False, 0
        self._stop_waiting()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """What comes next is the head of another request."""
        self._in_head = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """What uvicorn says of bytes that are no HTTP, as a problem."""
        self._refuse(400, "malformed_request", "Malformed request", msg)

    def _wait(self) -> None:
        self._late = self.loop.call_later(HEAD_WITHIN_S, self._hang_up)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _hang_up(self) -> None:
        if self._head_bytes:
            self._refuse(408, "head_timeout", "Head did not arrive in time", f"it took longer than {HEAD_WITHIN_S:g} s")
        else:
            self.transport.close()

    def _refuse(self, status: int, code: str, title: str, detail: str) -> None:
        problem = Problem(f"urn:unirank:problem:{code}", title, status, detail, "", [], "")
        body = msgspec.json.encode(problem)
        head = (
            f"HTTP/1.1 {status} {title}\r\ncontent-type: application/problem+json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
