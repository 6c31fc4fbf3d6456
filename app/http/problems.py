"""Turns errors into RFC 9457 problem documents, the only error answers of the service. Decides nothing.

A problem is either a response of the application, or the bytes of a complete HTTP response for requests that are
refused before the application sees them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from urllib.parse import quote

import msgspec
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route

from app.errors import Fault, UnirankError

REQUEST_ID = "unirank.request_id"  # keys of the ASGI scope: the middleware sets this one, …
ERROR_CODE = "unirank.error_code"  # … the error handler this one
PROBLEM_JSON = "application/problem+json"
SAFE_HEADERS = (  # browsers must not guess the content type, frame the page, or send its address to other sites
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)
_SAFE = b"".join(name + b": " + value + b"\r\n" for name, value in SAFE_HEADERS)
_DETAIL_CHARS = 500
_UNQUOTED = "/:@!$&'()*+,;="  # characters that RFC 3986 allows in a path


class Problem(msgspec.Struct, frozen=True):
    """RFC 9457 problem details: the answer to every failed request."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: list[Fault]
    request_id: str


def problem_of(error: UnirankError, path: str = "", request_id: str = "") -> Problem:
    """The problem document of an error. `path`: of the request, percent-encoded."""
    return Problem(
        type=f"urn:unirank:problem:{error.code}",
        title=error.title,
        status=error.status,
        detail=_clean(error.detail),
        instance=_clean(path),
        errors=[Fault(_clean(f.pointer), f.code, _clean(f.detail)) for f in error.faults],
        request_id=request_id,
    )


def raw_problem(problem: Problem, headers: Mapping[str, str]) -> bytes:
    """A complete HTTP response: status line, `headers`, the headers of all responses, body."""
    body = msgspec.json.encode(problem)
    all_headers = {**headers, "content-type": PROBLEM_JSON, "content-length": str(len(body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in all_headers.items())
    return f"HTTP/1.1 {problem.status} {problem.title}\r\n{lines}".encode() + _SAFE + b"\r\n" + body


def problem_response(error: UnirankError, request: Request) -> Response:
    """The response to a request that failed with `error`."""
    path = quote(request.scope["path"], _UNQUOTED, errors="replace")
    problem = problem_of(error, path, str(request.scope.get(REQUEST_ID, "")))
    request.scope[ERROR_CODE] = error.faults[0].code if error.faults else error.code
    return Response(msgspec.json.encode(problem), error.status, error.headers(), PROBLEM_JSON)


def install_problem_handlers(app: FastAPI) -> None:
    """Turn every error of `app`, routing errors included, into a problem document."""
    app.add_exception_handler(UnirankError, _handle_unirank_error)
    app.add_exception_handler(HTTPException, _handle_http_exception)


async def _handle_unirank_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, UnirankError):
        raise error
    return problem_response(error, request)


async def _handle_http_exception(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    translated = UnirankError(f"{request.method} {request.scope['path']}: {error.detail}")
    translated.status = error.status_code
    translated.title = HTTPStatus(error.status_code).phrase
    translated.code = translated.title.lower().replace(" ", "_").replace("-", "_")
    response = problem_response(translated, request)
    response.headers.update(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED and (allowed := _allowed(request, request.app.routes)):
        response.headers["allow"] = allowed
    return response


def _allowed(request: Request, routes: Sequence[BaseRoute]) -> str:
    """All methods that the path supports; Starlette lists only those of one route."""
    matching = [
        route for route in routes if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
    ]
    methods = {method for route in matching for method in route.methods or ()}
    return ", ".join(sorted(methods | {"HEAD"} if "GET" in methods else methods))


def _clean(text: str) -> str:
    """Text that is safe to send: no lone surrogate, not longer than a line or two."""
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= _DETAIL_CHARS else f"{text[:_DETAIL_CHARS]}…"
