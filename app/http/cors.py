"""CORS: which origins may call from a browser, and the CORS headers of all answers, early refusals included."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from app.errors import PreflightRefusedError
from app.http.problems import PROBLEM_JSON, problem_of

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")
EXPOSED = ("X-Request-ID", "Server-Timing", "Retry-After")


class Cors(CORSMiddleware):
    """Starlette's CORS middleware, with problem documents for refused preflights."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """200, or 400 with the reason."""
        answer = super().preflight_response(request_headers)
        if answer.status_code < 400:
            return answer
        headers = {name: value for name, value in answer.headers.items() if not name.startswith("content-")}
        problem = problem_of(PreflightRefusedError(bytes(answer.body).decode()))
        return Response(msgspec.json.encode(problem), problem.status, headers, PROBLEM_JSON)


def cors_headers(origins: Sequence[str], origin: bytes | None) -> dict[str, str]:
    """The headers that `Cors` adds, for answers that do not pass through it. `origin`: the header of the request.

    >>> cors_headers(["https://shop.example"], b"https://evil.example")
    {'access-control-expose-headers': 'X-Request-ID, Server-Timing, Retry-After', 'vary': 'Origin'}
    """
    if not origins:
        return {}
    if origin is None:
        return {"vary": "Origin"}
    headers = {"access-control-expose-headers": ", ".join(EXPOSED), "vary": "Origin"}
    allowed = "*" if "*" in origins else origin.decode("latin-1")
    return headers | {"access-control-allow-origin": allowed} if allowed in origins else headers
