"""Load shedding: while the queue is full, ranking requests are refused from their raw bytes, before parsing.

Under overload most requests are refused. A refusal by the application costs a tenth of a ranking, so at five times the
load only half of the processor would be left for rankings. Bytes that are not exactly one complete request, such as a
body that arrives in parts, go to the application and get the same answer there.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from functools import lru_cache

from app.errors import OverloadedError
from app.execution.admission import Priority, overloaded
from app.http.cors import cors_headers
from app.http.middleware import request_id_of
from app.http.problems import problem_of, raw_problem
from app.http.raw_headers import headers_in
from app.models.serving_state import ServingState

_RANKING = re.compile(
    rb"POST (/v1/(?:rank|search|homepage|batch|more-like-this/[!->@-~]+))(?:\?[^ ]*)? HTTP/1\.1(?=\r\n)"
)
_LENGTH = re.compile(rb"\d{1,9}")
_EXCLUDED_HEADERS = {b"transfer-encoding", b"expect", b"upgrade"}
SHARE = 0.8  # of the wait that the application allows, so that it refuses few of the requests passed on
_END = b"\r\n\r\n"
_MORE_LIKE_THIS = "/v1/more-like-this/"
_MORE_LIKE_THIS_ROUTE = "/v1/more-like-this/{entity_id}"
Headers = dict[bytes, bytes]


class LoadShedder:
    """Refuses requests for one application; each worker has one. Requires a running event loop."""

    def __init__(self, state: ServingState) -> None:
        self._state = state
        self._origins = state.settings.origins()
        self._patience_s = SHARE * state.settings.timeout_ms / 1000
        self._pending = 0  # passed on in this iteration of the event loop; by the next they are admitted or refused
        self._refused = Counter[str]()  # in this iteration, by route; counted together
        self._reset_scheduled = False

    def answer(self, data: bytes) -> bytes | None:
        """The complete answer if `data` is exactly one ranking request and the queue is full, else None.

        A hundred requests may arrive in one iteration of the event loop, so each one passed on counts at once.
        """
        why = self._state.admission.why_full(self._patience_s, self._pending)
        ranking = plain_ranking(data) if why else None
        self._schedule_reset()
        if ranking is None:
            self._pending += 1
            return None
        return self._refusal(why, *ranking)

    def cors(self, origin: bytes | None) -> dict[str, str]:
        """The CORS headers of an answer to a request from `origin`."""
        return cors_headers(self._origins, origin)

    def _schedule_reset(self) -> None:
        if not self._reset_scheduled:
            self._reset_scheduled = True
            asyncio.get_running_loop().call_soon(self._reset)

    def _reset(self) -> None:
        self._reset_scheduled, self._pending = False, 0
        for route, count in self._refused.items():
            self._state.admission.refused(Priority.HIGH, count)
            self._state.metrics.count_refused(route, OverloadedError.status, OverloadedError.code, count)
        self._refused.clear()

    def _refusal(self, why: str, path: str, headers: Headers) -> bytes:
        self._refused[_MORE_LIKE_THIS_ROUTE if path.startswith(_MORE_LIKE_THIS) else path] += 1
        request_id = request_id_of(headers)
        retry_after_s = self._state.admission.retry_after_s(Priority.HIGH)
        cors = tuple(self.cors(headers.get(b"origin")).items())
        before, between, after = _refusal_parts(path, why, retry_after_s, len(request_id), cors)
        return b"".join((before, request_id.encode(), between, request_id.encode(), after))


def plain_ranking(data: bytes) -> tuple[str, Headers] | None:
    """Path and headers if the bytes are exactly one ranking request with one Content-Length, else None.

    >>> plain_ranking(b"POST /v1/rank HTTP/1.1\\r\\nContent-Length: 2\\r\\n\\r\\n{}")
    ('/v1/rank', {b'content-length': b'2'})
    >>> plain_ranking(b"POST /v1/rank HTTP/1.1\\r\\nContent-Length: 3\\r\\n\\r\\n{}")
    """
    line, end = _RANKING.match(data), data.find(_END)
    if line is None:
        return None
    pairs = headers_in(data, line.end(), end)
    headers = dict(pairs)
    length = headers.get(b"content-length", b"")
    if (
        len(headers) != len(pairs)
        or not _EXCLUDED_HEADERS.isdisjoint(headers)
        or headers.get(b"connection", b"").lower() == b"close"
    ):
        return None
    if not _LENGTH.fullmatch(length) or len(data) != end + len(_END) + int(length):
        return None
    return line[1].decode("ascii", "replace"), headers


@lru_cache(256)
def _refusal_parts(
    path: str, why: str, retry_after_s: int, id_length: int, cors: tuple[tuple[str, str], ...]
) -> tuple[bytes, bytes, bytes]:
    """The bytes of a refusal in three parts; the request id goes between them."""
    error = overloaded(Priority.HIGH, why, retry_after_s)
    placeholder = "\x7f" * id_length  # occurs nowhere else in an answer
    headers = {**error.headers(), **dict(cors), "x-request-id": placeholder}
    before, between, after = raw_problem(problem_of(error, path, placeholder), headers).split(placeholder.encode())
    return before, between, after
