"""CORS: which origins may call from a browser, and what every answer tells them, refusals from raw bytes included."""

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
    """Starlette's, which answers a preflight that it refuses with a problem document."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """200, or 400 with what does not fit."""
        answer = super().preflight_response(request_headers)
        if answer.status_code < 400:
            return answer
        headers = {name: value for name, value in answer.headers.items() if not name.startswith("content-")}
        problem = problem_of(PreflightRefusedError(bytes(answer.body).decode()))
        return Response(msgspec.json.encode(problem), problem.status, headers, PROBLEM_JSON)


def cors_headers(origins: Sequence[str], origin: bytes | None) -> dict[str, str]:
    """What `Cors` adds to an answer, for answers that do not pass it. `origin`: the header of the request.

    >>> cors_headers(["https://shop.example"], b"https://evil.example")
    {'access-control-expose-headers': 'X-Request-ID, Server-Timing, Retry-After', 'vary': 'Origin'}
    """
    if not origins:
        return {}
    if origin is None:
        return {"vary": "Origin"}
    headers = {"access-control-expose-headers": ", ".join(EXPOSED), "vary": "Origin"}
    named = "*" if "*" in origins else origin.decode("latin-1")
    return headers | {"access-control-allow-origin": named} if named in origins else headers
