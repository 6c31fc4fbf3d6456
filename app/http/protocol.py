"""uvicorn's HTTP connection with bounds that it lacks: how large the head of a request is and how long it takes, how
long an unread body and an answer that nobody takes are waited for, how many requests come at once, and how often who
was told to come back later may come.

Without them one caller fills the memory with headers that never end, or holds connections by sending or reading
nothing; and an overloaded service spends its time on saying no. Bodies are bounded in size and time where they are read
(`app/api/endpoint.py`), connections in number by `connection_limit.py`.
"""

from __future__ import annotations

import asyncio
import math
from functools import partial
from typing import Any

from fastapi import FastAPI
from uvicorn import Config
from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, ASGISendEvent, Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from app.errors import (
    HeadTimeoutError,
    HeadTooLargeError,
    MalformedRequestError,
    OverloadedError,
    TargetTooLongError,
    TooManyAheadError,
    UnirankError,
)
from app.http.connection_limit import ConnectionLimit
from app.http.load_shedding import LoadShedder
from app.http.problems import ERROR_CODE, problem_of, raw_problem
from app.http.raw_headers import origin_in

MOST_HEAD_BYTES = 64 * 1024  # request line and headers; others take 8 to 64 KB
MOST_HEADERS = 256
MOST_TARGET_BYTES = 32 * 1024  # path and query: a query of 2,000 characters takes at most 24 KB
MOST_PARAMETERS = 256
MOST_AHEAD = 64  # requests that came before the first of them is answered
HEAD_WITHIN_S = 10.0
LINGER_S = 2.0  # how long the rest of an unread body is thrown away, so that the caller gets to read the answer
TAKEN_WITHIN_S = 30.0  # an answer, once it fills the buffers
HASTY_S = 0.05  # who was told, with Retry-After, that there is no room, and is told so again within this time, …
REST_S = 0.1  # … is not read for so long
_END = b"\r\n\r\n"


class HttpConnection(HttpToolsProtocol):
    """Answers what cannot be read with a problem document, and hangs up on who says nothing."""

    _head_bytes = 0
    _in_head = True
    _latest = b""  # what came last: a head that is refused is not parsed to its end
    _refused_at = -math.inf
    _late: asyncio.TimerHandle | None = None
    _stuck: asyncio.TimerHandle | None = None
    _answering: RequestResponseCycle | None = None
    _lingers = False
    _too_much: UnirankError | None = None

    def __init__(self, config: Config, *others: Any, **more: Any) -> None:
        super().__init__(config, *others, **more)
        app = app_behind(config.loaded_app)
        self._load_shedder: LoadShedder = app.state.load_shedder
        self._limit: ConnectionLimit = app.state.connection_limit
        self.ws_protocol_class = (
            None  # there is no route for websockets, and theirs would be a connection without bounds
        )

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The first request is waited for, like a head that began."""
        super().connection_made(transport)
        if self._limit.opened(self):
            self._wait()
        else:
            self._refuse(OverloadedError("too many connections"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._limit.closed(self)
        self._stop_waiting()
        self._moves()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass on, unless there is no room, or the head that these bytes belong to is too large."""
        if self._lingers or self.transport.is_closing():
            return
        self._latest = data
        if self._between_requests() and (refusal := self._load_shedder.answer(data)) is not None:
            self.transport.write(refusal)
            self._keep()
            self._rest()
            return
        if self._in_head:
            end = data.find(_END)
            self._head_bytes += len(data) if end < 0 else end
            if self._head_bytes > MOST_HEAD_BYTES:
                self._refuse(HeadTooLargeError(f"more than {MOST_HEAD_BYTES} bytes"))
                return
        super().data_received(data)
        if self._in_head and self._head_bytes and self._late is None:
            self._wait()

    def on_header(self, name: bytes, value: bytes) -> None:
        """One more; those behind a chunked body count, too. Raises `_TooMuchError`."""
        if len(self.headers) >= MOST_HEADERS:
            self._too_much = HeadTooLargeError(f"more than {MOST_HEADERS} headers")
            raise _TooMuchError
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole. Raises `_TooMuchError`, which the parser passes on, where it asks for too much."""
        self._in_head, self._head_bytes = False, 0
        self._stop_waiting()
        self._limit.works(self)
        self._check_head()
        super().on_headers_complete()

    def _check_head(self) -> None:
        parameters = self.url.count(b"&")
        if len(self.url) > MOST_TARGET_BYTES or parameters > MOST_PARAMETERS:
            self._too_much = TargetTooLongError(f"more than {MOST_TARGET_BYTES} bytes or {MOST_PARAMETERS} parameters")
        elif len(self.pipeline) >= MOST_AHEAD:
            self._too_much = TooManyAheadError(f"more than {MOST_AHEAD} at once")
        if self._too_much is not None:
            raise _TooMuchError

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Start with an application that says so where its answer ends the connection."""
        self._answering = cycle
        super()._start_asgi_task(cycle, partial(_answered, cycle, app))

    def on_message_complete(self) -> None:
        """What comes next is the head of another request."""
        self._in_head = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Leave the connection alone for a moment where the answer was that there is no room."""
        if self.scope.get(ERROR_CODE) == OverloadedError.code:
            self._rest()
        answered, follows = self._answering, bool(self.pipeline)  # which may start in the next line
        super().on_response_complete()
        if answered is not None and answered.more_body:
            self._linger()
        elif self.transport.is_closing():
            self._close()
        elif not follows:
            self._limit.waits(self)

    def _linger(self) -> None:
        """Send what there is and say that it is all; read on for a moment, or the caller's system drops the answer.

        What comes meanwhile is thrown away.
        """
        self._lingers = True
        self._unset_keepalive_if_required()
        self._stop_waiting()
        self._limit.waits(self)
        if self.transport.is_closing() or not self.transport.can_write_eof():
            self._close()
            return
        self.transport.write_eof()
        self.flow.resume_reading()
        self._late = self.loop.call_later(LINGER_S, self._close)

    def _close(self) -> None:
        """Close once all is sent; what nobody takes is dropped."""
        self._stop_waiting()
        self.transport.close()
        self._late = self.loop.call_later(LINGER_S, self.transport.abort)

    def make_room(self) -> None:
        """Close at once: others need the room."""
        self.transport.abort()

    def pause_writing(self) -> None:
        """The buffers are full: the answer must be taken within some time."""
        super().pause_writing()
        if self._stuck is None:
            self._stuck = self.loop.call_later(TAKEN_WITHIN_S, self.transport.abort)

    def resume_writing(self) -> None:
        """The answer is taken."""
        self._moves()
        super().resume_writing()

    def _moves(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None

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
        elif not self.transport.is_closing():
            self._close()

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
        self._refuse(self._too_much or MalformedRequestError(msg))

    def _wait(self) -> None:
        self._late = self.loop.call_later(HEAD_WITHIN_S, self._hang_up)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _hang_up(self) -> None:
        if self._head_bytes:
            self._refuse(HeadTimeoutError(f"it took longer than {HEAD_WITHIN_S:g} s"))
        else:
            self._close()

    def _refuse(self, error: UnirankError) -> None:
        cors = self._load_shedder.cors(origin_in(self._latest, self.headers or ()))
        self.transport.write(raw_problem(problem_of(error), {**error.headers(), **cors, "connection": "close"}))
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.pipeline.clear()
        self._linger()


class _TooMuchError(Exception):
    """A head that is not taken; the connection knows why."""


async def _answered(
    cycle: RequestResponseCycle,
    app: ASGI3Application,
    scope: Scope,
    receive: ASGIReceiveCallable,
    send: ASGISendCallable,
) -> None:
    """Run `app`; an answer to a body that was not read to its end says that the connection closes.

    uvicorn writes that header where `keep_alive` is false, and would close at once at the end of the answer.
    """

    async def sending(message: ASGISendEvent) -> None:
        if message["type"] == "http.response.start" and cycle.more_body:
            cycle.keep_alive = False
            await send(message)
            cycle.keep_alive = True
        else:
            await send(message)

    await app(scope, receive, sending)


def app_behind(app: Any) -> FastAPI:
    """The application that uvicorn has wrapped."""
    while not isinstance(app, FastAPI):
        app = app.app
    return app
