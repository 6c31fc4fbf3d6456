"""uvicorn's HTTP connection with bounds that it lacks: how large the head of a request is, how long it takes, and how
often who was told to come back later may come at once.

Without them one caller fills the memory with headers that never end, or holds connections by sending nothing; and an
overloaded service spends its time on saying no. Bodies are bounded where they are read (`routes/entrance.py`).
"""

from __future__ import annotations

import asyncio
import math
from typing import Any

from fastapi import FastAPI
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.cors import origin_in
from app.errors import ERROR_CODE, OverloadedError, Problem
from app.quick_no import QuickNo
from app.raw_problem import raw_problem

MOST_HEAD_BYTES = 64 * 1024  # request line and headers; others take 8 to 64 KB
HEAD_WITHIN_S = 10.0
HASTY_S = 0.05  # who was told, with Retry-After, that there is no room, and is told so again within this time, …
REST_S = 0.1  # … is not read for so long
_END = b"\r\n\r\n"


class Connection(HttpToolsProtocol):
    """Answers what cannot be read with a problem document, and hangs up on who says nothing."""

    _head_bytes = 0
    _in_head = True
    _latest = b""  # what came last: a head that is refused is not parsed to its end
    _refused_at = -math.inf
    _late: asyncio.TimerHandle | None = None

    def __init__(self, config: Config, *others: Any, **more: Any) -> None:
        super().__init__(config, *others, **more)
        self._quick_no = quick_no_behind(config.loaded_app)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The first request is waited for, like a head that began."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass on, unless there is no room, or the head that these bytes belong to is too large."""
        self._latest = data
        if self._between_requests() and (refusal := self._quick_no.answer(data)) is not None:
            self.transport.write(refusal)
            self._keep()
            self._rest()
            return
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

    def on_response_complete(self) -> None:
        """Leave the connection alone for a moment where the answer was that there is no room."""
        if self.scope.get(ERROR_CODE) == OverloadedError.code:
            self._rest()
        super().on_response_complete()

    def _between_requests(self) -> bool:
        """Whether all that came so far is answered."""
        return self._in_head and not self._head_bytes and (self.cycle is None or self.cycle.response_complete)

    def _keep(self) -> None:
        """The connection is in use, though uvicorn does not see it: another request is waited for."""
        self._stop_waiting()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def timeout_keep_alive_handler(self) -> None:
        """Hang up on who asks no more; who was refused meanwhile did ask."""
        left = self._refused_at + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self.timeout_keep_alive_task = self.loop.call_later(left, self.timeout_keep_alive_handler)
        else:
            super().timeout_keep_alive_handler()

    def _rest(self) -> None:
        now = self.loop.time()
        hasty, self._refused_at = now - self._refused_at < HASTY_S, now
        if hasty and not self.transport.is_closing():
            self.transport.pause_reading()
            self.loop.call_later(REST_S, self._read_again)

    def _read_again(self) -> None:
        if not self.transport.is_closing():
            self.transport.resume_reading()

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
        cors = self._quick_no.cors(origin_in(self._latest, self.headers or ()))
        self.transport.write(raw_problem(problem, {"connection": "close", **cors}))
        self.transport.close()


def quick_no_behind(app: Any) -> QuickNo:
    """That of the application that uvicorn has wrapped."""
    while not isinstance(app, FastAPI):
        app = app.app
    quick_no: QuickNo = app.state.quick_no
    return quick_no
