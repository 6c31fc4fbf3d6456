"""The error tree of the service. Raises nothing itself and knows no route; its wire form is in `http/problems.py`.

UnirankError                      what went wrong, as the caller sees it
├── MalformedRequestError   400   not HTTP
├── TooManyAheadError       400   requests that do not wait for their answers
├── PreflightRefusedError   400   CORS does not allow it
├── MalformedBodyError      400   not JSON, or not UTF-8
├── UnauthorizedError       401   no key, or an unknown one
├── ForbiddenError          403   the key lacks a scope
├── NotFoundError           404   an entity or a path that is not there
├── ModelConflictError      409   models cannot be moved like that
├── HeadTimeoutError        408   the head did not arrive in time
├── BodyTimeoutError        408   the body did not arrive in time
├── BodyTooLargeError       413
├── TargetTooLongError      414   path and query
├── InvalidRequestError     422   JSON that breaks the contract; carries one fault a place
├── ModelRefusedError       422   a model that failed its checks
├── RateError               429   this key calls too often; carries Retry-After
├── HeadTooLargeError       431
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

import msgspec


class Fault(msgspec.Struct, frozen=True):
    """One place of a request that breaks the contract. `pointer`: RFC 6901, into the body."""

    pointer: str
    code: str
    detail: str


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


class MalformedRequestError(UnirankError):
    """These bytes are no HTTP."""

    status, code, title = 400, "malformed_request", "Malformed request"


class TooManyAheadError(UnirankError):
    """More requests came than are taken before the first of them is answered."""

    status, code, title = 400, "too_many_ahead", "Too many requests ahead"


class PreflightRefusedError(UnirankError):
    """What a browser asked for is not allowed."""

    status, code, title = 400, "cors_refused", "Preflight refused"


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


class HeadTimeoutError(UnirankError):
    """The request line and headers came too slowly."""

    status, code, title = 408, "head_timeout", "Head did not arrive in time"


class BodyTimeoutError(UnirankError):
    """The body came too slowly."""

    status, code, title = 408, "body_timeout", "Body did not arrive in time"


class BodyTooLargeError(UnirankError):
    """The body is larger than the limit."""

    status, code, title = 413, "body_too_large", "Body too large"


class TargetTooLongError(UnirankError):
    """Path and query are longer than the limit."""

    status, code, title = 414, "target_too_long", "Target too long"


class HeadTooLargeError(UnirankError):
    """The request line and headers are larger than the limit."""

    status, code, title = 431, "head_too_large", "Head too large"


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
