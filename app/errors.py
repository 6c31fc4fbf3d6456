"""The error tree of the service and its one wire form, RFC 9457. Raises nothing itself and knows no route.

UnirankError                      what went wrong, as the caller sees it
├── MalformedBodyError      400   not JSON, or not UTF-8
├── UnauthorizedError       401   no key, or an unknown one
├── ForbiddenError          403   the key lacks a scope
├── NotFoundError           404   an entity or a path that is not there
├── ModelConflictError      409   models cannot be moved like that
├── BodyTimeoutError        408   the body did not arrive in time
├── BodyTooLargeError       413
├── InvalidRequestError     422   JSON that breaks the contract; carries one fault a place
├── ModelRefusedError       422   a model that failed its checks
├── RateError               429   this key calls too often; carries Retry-After
├── CallerGoneError         499   the caller hung up: nobody reads the answer, metrics count it
├── InternalError           500   anything uncaught
└── UnavailableError        503   carries Retry-After
    ├── OverloadedError           it would not be done in time
    ├── EventsUnavailableError    events cannot be stored
    ├── ModelsUnwritableError     the file that names a model cannot be written
    └── NotReadyError             no model loaded yet, or none could be
ModelNotFoundError                at start: no model folder where the settings say (no HTTP answer)
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from urllib.parse import quote

import msgspec
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route

REQUEST_ID = "unirank.request_id"  # keys of the ASGI scope: the door writes the first, the handler the second
ERROR_CODE = "unirank.error_code"
PROBLEM_JSON = "application/problem+json"
_DETAIL_CHARS = 500
_UNQUOTED = "/:@!$&'()*+,;="  # of a path as RFC 3986 writes it


class Fault(msgspec.Struct, frozen=True):
    """One place of a request that breaks the contract. `pointer`: RFC 6901, into the body."""

    pointer: str
    code: str
    detail: str


class Problem(msgspec.Struct, frozen=True):
    """RFC 9457 problem details: the answer to every request that failed."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: list[Fault]
    request_id: str


class UnirankError(Exception):
    """Base of all errors that a caller sees."""

    status = 500
    code = "internal"
    title = "Internal error"

    def __init__(self, detail: str, faults: tuple[Fault, ...] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.faults = faults

    def headers(self) -> dict[str, str]:
        """Headers that the answer needs besides its body."""
        return {}


class MalformedBodyError(UnirankError):
    """The body is not JSON in UTF-8."""

    status, code, title = 400, "malformed_body", "Malformed body"


class UnauthorizedError(UnirankError):
    """The service knows its callers, and this is none of them."""

    status, code, title = 401, "unauthorized", "Unauthorized"

    def headers(self) -> dict[str, str]:
        """How to say who calls."""
        return {"www-authenticate": 'Bearer realm="unirank"'}


class ForbiddenError(UnirankError):
    """The caller is known and may not do this."""

    status, code, title = 403, "forbidden", "Forbidden"


class NotFoundError(UnirankError):
    """What the path names does not exist."""

    status, code, title = 404, "not_found", "Not found"


class ModelConflictError(UnirankError, ValueError):
    """What serves now does not allow it."""

    status, code, title = 409, "conflict", "Conflict"


class ModelRefusedError(UnirankError):
    """The model failed a check; what serves goes on serving."""

    status, code, title = 422, "model_refused", "Model refused"


class BodyTimeoutError(UnirankError):
    """The body came too slowly."""

    status, code, title = 408, "body_timeout", "Body did not arrive in time"


class BodyTooLargeError(UnirankError):
    """The body is larger than the limit."""

    status, code, title = 413, "body_too_large", "Body too large"


class InvalidRequestError(UnirankError):
    """The body is JSON and breaks the contract."""

    status, code, title = 422, "invalid_request", "Invalid request"

    def __init__(self, *faults: Fault) -> None:
        super().__init__(faults[0].detail, faults)


class RateError(UnirankError):
    """One caller calls more often than its key allows."""

    status, code, title = 429, "rate_limited", "Too many requests"

    def __init__(self, detail: str, retry_after_s: int) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s

    def headers(self) -> dict[str, str]:
        """When the next request may come, in seconds."""
        return {"retry-after": str(self.retry_after_s)}


class CallerGoneError(UnirankError):
    """The caller hung up before its answer."""

    status, code, title = 499, "caller_gone", "Caller gone"


class InternalError(UnirankError):
    """A fault of ours. The detail stays in the log."""


class UnavailableError(UnirankError):
    """Not now; the caller may come back."""

    status, code, title = 503, "unavailable", "Unavailable"

    def __init__(self, detail: str, retry_after_s: int = 1) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s

    def headers(self) -> dict[str, str]:
        """When to come back, in seconds."""
        return {"retry-after": str(self.retry_after_s)}


class OverloadedError(UnavailableError):
    """The request would not be done in time."""

    code, title = "overloaded", "Overloaded"


class EventsUnavailableError(UnavailableError):
    """Events cannot be stored; none of the request's are."""

    code, title = "events_unavailable", "Events unavailable"


class ModelsUnwritableError(UnavailableError, ValueError):
    """What serves cannot be named: the disk is full, or may only be read. What serves goes on serving."""

    code, title = "models_unwritable", "Models cannot be moved"


class NotReadyError(UnavailableError):
    """There is no model to rank with."""

    code, title = "not_ready", "Not ready"


class ModelNotFoundError(ValueError):
    """The settings name no folder that holds a model."""


def invalid(pointer: str, code: str, detail: str) -> InvalidRequestError:
    """An `InvalidRequestError` of one fault."""
    return InvalidRequestError(Fault(pointer, code, detail))


def problem_response(error: UnirankError, request: Request) -> Response:
    """The answer to a request that failed with `error`."""
    problem = Problem(
        type=f"urn:unirank:problem:{error.code}",
        title=error.title,
        status=error.status,
        detail=_clean(error.detail),
        instance=_clean(quote(request.scope["path"], _UNQUOTED, errors="replace")),
        errors=[Fault(_clean(f.pointer), f.code, _clean(f.detail)) for f in error.faults],
        request_id=str(request.scope.get(REQUEST_ID, "")),
    )
    request.scope[ERROR_CODE] = error.faults[0].code if error.faults else error.code
    return Response(msgspec.json.encode(problem), error.status, error.headers(), PROBLEM_JSON)


def install_problem_handlers(app: FastAPI) -> None:
    """Make every error of `app`, those of routing too, a problem document."""
    app.add_exception_handler(UnirankError, _own)
    app.add_exception_handler(HTTPException, _routing)


async def _own(request: Request, error: Exception) -> Response:
    if not isinstance(error, UnirankError):
        raise error
    return problem_response(error, request)


async def _routing(request: Request, error: Exception) -> Response:
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
    """All methods that the path takes; Starlette names those of one route alone."""
    found = [
        route for route in routes if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
    ]
    methods = {method for route in found for method in route.methods or ()}
    return ", ".join(sorted(methods | {"HEAD"} if "GET" in methods else methods))


def _clean(text: str) -> str:
    """Text that is safe to send: no lone surrogate, not longer than a line or two."""
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= _DETAIL_CHARS else f"{text[:_DETAIL_CHARS]}…"
