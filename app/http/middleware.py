"""ASGI middleware: request ids, timing and metrics; an uncaught exception becomes a problem document."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import InternalError
from app.http.problems import ERROR_CODE, REQUEST_ID, SAFE_HEADERS, problem_response
from app.observability.ids import new_id
from app.observability.metrics import Clock, Metrics

_log = logging.getLogger("unirank")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_TRACE = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}.*")


class RequestMiddleware:
    """The outermost middleware except CORS. Uses the caller's request id if it is well-formed."""

    def __init__(self, app: ASGIApp, metrics: Metrics, clock: Clock) -> None:
        self._app = app
        self._metrics = metrics
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one HTTP request; other ASGI scopes pass through unchanged."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope[REQUEST_ID] = request_id_of(dict(scope["headers"]))
        exchange = _Exchange(scope, send, self._clock)
        if scope["method"] == "HEAD":  # handled as a GET without body; a copy, as the server reads its scope
            scope = {**scope, "method": "GET"}
        try:
            await self._app(scope, receive, exchange.send)
        except Exception:
            _log.exception("request %s failed", scope[REQUEST_ID])
            if exchange.status is not None:
                raise  # the answer has started: only closing the connection shows that it is incomplete
            await problem_response(InternalError("see the log"), Request(scope))(scope, receive, exchange.send)
        finally:
            status = exchange.status or 499  # 499: the caller disconnected before an answer
            self._metrics.observe_request(_route(scope), status, scope.get(ERROR_CODE), exchange.seconds())


class _Exchange:
    """Adds the service's headers to the answer and records its status."""

    def __init__(self, scope: Scope, send: Send, clock: Clock) -> None:
        self._request_id = scope[REQUEST_ID].encode()
        self._send = send
        self._clock = clock
        self._started = clock()
        self._is_head = scope["method"] == "HEAD"
        self.status: int | None = None

    def seconds(self) -> float:
        return self._clock() - self._started

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            timing = f"total;dur={self.seconds() * 1000:.2f}".encode()
            headers = [(b"x-request-id", self._request_id), (b"server-timing", timing), *SAFE_HEADERS]
            message = {**message, "headers": [*message.get("headers", ()), *headers]}
        elif self._is_head:
            message = {**message, "body": b""}
        await self._send(message)


def request_id_of(headers: Mapping[bytes, bytes]) -> str:
    """The caller's `X-Request-ID`, else the trace id of `traceparent`, else a new one."""
    if (request_id := headers.get(b"x-request-id")) and _REQUEST_ID.fullmatch(request_id):
        return request_id.decode()
    if trace := _TRACE.fullmatch(headers.get(b"traceparent", b"")):
        return str(trace[1].decode())
    return new_id()


def _route(scope: Scope) -> str:
    """The path template of the route, so that ids and unknown paths do not become metric labels."""
    return str(getattr(scope.get("route"), "path_format", "unmatched"))
