"""uvicorn's HTTP connection with limits that it lacks: on the size and duration of a request head, on the wait for an
unread body and for an answer that the client does not read, on pipelined requests, and on the rate of refused requests.

Without them one client can fill the memory with endless headers, or hold connections by sending or reading nothing, and
an overloaded service spends its time on refusals. The size and duration of bodies are limited where they are read
(`app/api/endpoint.py`), the number of connections by `connection_limit.py`.
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
    PipelineLimitError,
    TargetTooLongError,
    UnirankError,
)
from app.http.connection_limit import ConnectionLimit
from app.http.load_shedding import LoadShedder
from app.http.problems import ERROR_CODE, problem_of, raw_problem
from app.http.raw_headers import origin_in

MOST_HEAD_BYTES = 64 * 1024  # request line and headers; other servers accept 8 to 64 KB
MOST_HEADERS = 256
MOST_TARGET_BYTES = 32 * 1024  # path and query: a query of 2,000 characters takes at most 24 KB
MOST_PARAMETERS = 256
MOST_AHEAD = 64  # pipelined requests before the first of them is answered
HEAD_WITHIN_S = 10.0
LINGER_S = 2.0  # how long an unread body is received and discarded, so that the client can read the answer
TAKEN_WITHIN_S = 30.0  # for the client to read an answer that fills the buffers
HASTY_S = 0.05  # a connection that is refused for overload twice within this time, …
REST_S = 0.1  # … is not read for this long
_END = b"\r\n\r\n"


class HttpConnection(HttpToolsProtocol):
    """Answers unreadable requests with a problem document, and closes connections that send nothing."""

    _head_bytes = 0
    _in_head = True
    _last_data = b""  # the bytes received last: a refused head is not parsed to its end
    _refused_at = -math.inf
    _read_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None
    _current: RequestResponseCycle | None = None
    _lingering = False
    _head_error: UnirankError | None = None

    def __init__(self, config: Config, *args: Any, **options: Any) -> None:
        super().__init__(config, *args, **options)
        app = app_behind(config.loaded_app)
        self._load_shedder: LoadShedder = app.state.load_shedder
        self._limit: ConnectionLimit = app.state.connection_limit
        self.ws_protocol_class = (
            None  # no route takes websockets, and uvicorn's websocket connections lack these limits
        )

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the time limit of the first request head."""
        super().connection_made(transport)
        if self._limit.opened(self):
            self._start_head_timer()
        else:
            self._refuse(OverloadedError("too many connections"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel all timers."""
        self._limit.closed(self)
        self._cancel_read_timer()
        self._cancel_write_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass `data` on, unless the queue is full or the head that it belongs to is too large."""
        if self._lingering or self.transport.is_closing():
            return
        self._last_data = data
        if self._between_requests() and (refusal := self._load_shedder.answer(data)) is not None:
            self.transport.write(refusal)
            self._start_keep_alive_timer()
            self._throttle()
            return
        if self._in_head:
            end = data.find(_END)
            self._head_bytes += len(data) if end < 0 else end
            if self._head_bytes > MOST_HEAD_BYTES:
                self._refuse(HeadTooLargeError(f"more than {MOST_HEAD_BYTES} bytes"))
                return
        super().data_received(data)
        if self._in_head and self._head_bytes and self._read_timer is None:
            self._start_head_timer()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header; trailers of a chunked body count, too. Raises `_HeadLimitError`."""
        if len(self.headers) >= MOST_HEADERS:
            self._head_error = HeadTooLargeError(f"more than {MOST_HEADERS} headers")
            raise _HeadLimitError
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is complete. Raises `_HeadLimitError`, which the parser passes on, if it exceeds a limit."""
        self._in_head, self._head_bytes = False, 0
        self._cancel_read_timer()
        self._limit.works(self)
        self._check_head()
        super().on_headers_complete()

    def _check_head(self) -> None:
        parameters = self.url.count(b"&")
        if len(self.url) > MOST_TARGET_BYTES or parameters > MOST_PARAMETERS:
            self._head_error = TargetTooLongError(
                f"more than {MOST_TARGET_BYTES} bytes or {MOST_PARAMETERS} parameters"
            )
        elif len(self.pipeline) >= MOST_AHEAD:
            self._head_error = PipelineLimitError(f"more than {MOST_AHEAD} at once")
        if self._head_error is not None:
            raise _HeadLimitError

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Start the application so that an answer which ends the connection says so."""
        self._current = cycle
        super()._start_asgi_task(cycle, partial(_run_app, cycle, app))

    def on_message_complete(self) -> None:
        """The next bytes are the head of another request."""
        self._in_head = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Throttle the connection if the request was refused for overload, and close it if its body was not read."""
        if self.scope.get(ERROR_CODE) == OverloadedError.code:
            self._throttle()
        cycle, next_waits = self._current, bool(self.pipeline)  # the next line may start the next request
        super().on_response_complete()
        if cycle is not None and cycle.more_body:
            self._linger()
        elif self.transport.is_closing():
            self._close()
        elif not next_waits:
            self._limit.waits(self)

    def _linger(self) -> None:
        """Send the rest and close the sending side; go on receiving for a moment, else the client's system may drop the
        answer. Received bytes are discarded.
        """
        self._lingering = True
        self._unset_keepalive_if_required()
        self._cancel_read_timer()
        self._limit.waits(self)
        if self.transport.is_closing() or not self.transport.can_write_eof():
            self._close()
            return
        self.transport.write_eof()
        self.flow.resume_reading()
        self._read_timer = self.loop.call_later(LINGER_S, self._close)

    def _close(self) -> None:
        """Close once all is sent; drop what the client does not read in time."""
        self._cancel_read_timer()
        self.transport.close()
        self._read_timer = self.loop.call_later(LINGER_S, self.transport.abort)

    def make_room(self) -> None:
        """Close at once, in favour of another connection."""
        self.transport.abort()

    def pause_writing(self) -> None:
        """The buffers are full: start the time limit for reading the answer."""
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(TAKEN_WITHIN_S, self.transport.abort)

    def resume_writing(self) -> None:
        """The client reads the answer."""
        self._cancel_write_timer()
        super().resume_writing()

    def _cancel_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _between_requests(self) -> bool:
        """Whether all requests received so far are answered."""
        return self._in_head and not self._head_bytes and (self.cycle is None or self.cycle.response_complete)

    def _start_keep_alive_timer(self) -> None:
        """Start uvicorn's keep-alive timer, as uvicorn did not see the refused request."""
        self._cancel_read_timer()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that sends no further requests; refused requests count as requests."""
        remaining_s = self._refused_at + self.timeout_keep_alive - self.loop.time()
        if remaining_s > 0:
            self.timeout_keep_alive_task = self.loop.call_later(remaining_s, self.timeout_keep_alive_handler)
        elif not self.transport.is_closing():
            self._close()

    def _throttle(self) -> None:
        now = self.loop.time()
        hasty, self._refused_at = now - self._refused_at < HASTY_S, now
        if hasty and not self.transport.is_closing():
            self.transport.pause_reading()
            self.loop.call_later(REST_S, self._resume_reading)

    def _resume_reading(self) -> None:
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def send_400_response(self, msg: str) -> None:
        """uvicorn's answer to invalid HTTP, as a problem document."""
        self._refuse(self._head_error or MalformedRequestError(msg))

    def _start_head_timer(self) -> None:
        self._read_timer = self.loop.call_later(HEAD_WITHIN_S, self._on_head_timeout)

    def _cancel_read_timer(self) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None

    def _on_head_timeout(self) -> None:
        if self._head_bytes:
            self._refuse(HeadTimeoutError(f"it took longer than {HEAD_WITHIN_S:g} s"))
        else:
            self._close()

    def _refuse(self, error: UnirankError) -> None:
        cors = self._load_shedder.cors(origin_in(self._last_data, self.headers or ()))
        self.transport.write(raw_problem(problem_of(error), {**error.headers(), **cors, "connection": "close"}))
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.pipeline.clear()
        self._linger()


class _HeadLimitError(Exception):
    """Stops the parser at a head that exceeds a limit; the connection holds the error to send."""


async def _run_app(
    cycle: RequestResponseCycle,
    app: ASGI3Application,
    scope: Scope,
    receive: ASGIReceiveCallable,
    send: ASGISendCallable,
) -> None:
    """Run `app`; an answer before the end of the body gets the header `connection: close`.

    uvicorn adds that header if `keep_alive` is false, but would then close the connection right after the answer.
    """

    async def send_with_close(message: ASGISendEvent) -> None:
        if message["type"] == "http.response.start" and cycle.more_body:
            cycle.keep_alive = False
            await send(message)
            cycle.keep_alive = True
        else:
            await send(message)

    await app(scope, receive, send_with_close)


def app_behind(app: Any) -> FastAPI:
    """The application inside uvicorn's wrappers."""
    while not isinstance(app, FastAPI):
        app = app.app
    return app
