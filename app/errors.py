"""The exception hierarchy of the service. Raises nothing and knows no route; `http/problems.py` turns it into HTTP.

UnirankError                      base of all errors that a caller sees
├── MalformedRequestError   400   not valid HTTP
├── PipelineLimitError       400   too many pipelined requests
├── PreflightRefusedError   400   the CORS policy does not allow the request
├── MalformedBodyError      400   not JSON, or not UTF-8
├── UnauthorizedError       401   no API key, or an unknown one
├── ForbiddenError          403   the key lacks a scope
├── NotFoundError           404   no such entity or path
├── ModelConflictError      409   the models that serve do not allow this change
├── HeadTimeoutError        408   the head did not arrive in time
├── BodyTimeoutError        408   the body did not arrive in time
├── BodyTooLargeError       413
├── TargetTooLongError      414   path and query
├── InvalidRequestError     422   JSON that breaks the contract; carries all its faults
├── ModelRefusedError       422   the model failed its checks
├── RateError               429   the key is over its rate; carries Retry-After
├── HeadTooLargeError       431
├── ClientDisconnectedError         499   the caller disconnected: no answer is read, metrics count it
├── InternalError           500   any other exception
└── UnavailableError        503   carries Retry-After
    ├── OverloadedError           the request would not finish in time
    ├── EventsUnavailableError    events cannot be stored
    ├── ModelsUnwritableError     the file that names a model cannot be written
    └── NotReadyError             no model is loaded yet, or none could be loaded
ModelNotFoundError                no such model folder; exits at start, 404 over HTTP
"""

from __future__ import annotations

import msgspec


class Fault(msgspec.Struct, frozen=True):
    """One part of a request that breaks the contract. `pointer`: a JSON pointer (RFC 6901) into the body."""

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
    """The bytes are not valid HTTP."""

    status, code, title = 400, "malformed_request", "Malformed request"


class PipelineLimitError(UnirankError):
    """The caller sent more pipelined requests than the limit before the first was answered."""

    status, code, title = 400, "too_many_ahead", "Too many requests ahead"


class PreflightRefusedError(UnirankError):
    """The CORS policy does not allow what a browser's preflight asks for."""

    status, code, title = 400, "cors_refused", "Preflight refused"


class MalformedBodyError(UnirankError):
    """The body is not JSON in UTF-8."""

    status, code, title = 400, "malformed_body", "Malformed body"


class UnauthorizedError(UnirankError):
    """The service requires an API key, and the request carries no valid one."""

    status, code, title = 401, "unauthorized", "Unauthorized"

    def headers(self) -> dict[str, str]:
        """The authentication scheme to use."""
        return {"www-authenticate": 'Bearer realm="unirank"'}


class ForbiddenError(UnirankError):
    """The key is valid, but lacks the scope."""

    status, code, title = 403, "forbidden", "Forbidden"


class NotFoundError(UnirankError):
    """The entity or path does not exist."""

    status, code, title = 404, "not_found", "Not found"


class ModelConflictError(UnirankError, ValueError):
    """The models that serve now do not allow the change."""

    status, code, title = 409, "conflict", "Conflict"


class ModelRefusedError(UnirankError):
    """The model failed a check; the current model keeps serving."""

    status, code, title = 422, "model_refused", "Model refused"


class HeadTimeoutError(UnirankError):
    """The request line and headers arrived too slowly."""

    status, code, title = 408, "head_timeout", "Head did not arrive in time"


class BodyTimeoutError(UnirankError):
    """The body arrived too slowly."""

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
    """The body is JSON, but breaks the contract."""

    status, code, title = 422, "invalid_request", "Invalid request"

    def __init__(self, *faults: Fault) -> None:
        super().__init__(faults[0].detail, faults)


class RateError(UnirankError):
    """A caller sends more requests than the rate of its key allows."""

    status, code, title = 429, "rate_limited", "Too many requests"

    def __init__(self, detail: str, retry_after_s: int) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s

    def headers(self) -> dict[str, str]:
        """Seconds until the next request is allowed."""
        return {"retry-after": str(self.retry_after_s)}


class ClientDisconnectedError(UnirankError):
    """The caller disconnected before its answer."""

    status, code, title = 499, "caller_gone", "Caller gone"


class InternalError(UnirankError):
    """An error in the service itself. The details are only in the log."""


class UnavailableError(UnirankError):
    """The service cannot answer now; the caller may retry."""

    status, code, title = 503, "unavailable", "Unavailable"

    def __init__(self, detail: str, retry_after_s: int = 1) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s

    def headers(self) -> dict[str, str]:
        """Seconds until a retry."""
        return {"retry-after": str(self.retry_after_s)}


class OverloadedError(UnavailableError):
    """The request would not finish in time."""

    code, title = "overloaded", "Overloaded"


class EventsUnavailableError(UnavailableError):
    """Events cannot be stored; none of this request were."""

    code, title = "events_unavailable", "Events unavailable"


class ModelsUnwritableError(UnavailableError, ValueError):
    """The file that names a model cannot be written: the disk is full or read-only. The current model keeps serving."""

    code, title = "models_unwritable", "Models cannot be moved"


class NotReadyError(UnavailableError):
    """No model is loaded."""

    code, title = "not_ready", "Not ready"


class ModelNotFoundError(ValueError):
    """The path of the settings, or a given version, names no model folder."""


def invalid(pointer: str, code: str, detail: str) -> InvalidRequestError:
    """An `InvalidRequestError` with one fault."""
    return InvalidRequestError(Fault(pointer, code, detail))
