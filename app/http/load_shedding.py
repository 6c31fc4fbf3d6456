"""Load shedding: where there is no room, a request for a ranking is refused from its bytes, before they are parsed.

Under overload most of the work is to refuse; through the whole application a refusal costs as much as a tenth of a
ranking, and five times the load would leave half of the processor for rankings. Whatever is not plainly one whole
request, such as a body that comes in pieces, goes to the application and gets the same answer there.
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
_NOT_PLAIN = {b"transfer-encoding", b"expect", b"upgrade"}
SHARE = 0.8  # of the patience that others have, so that hardly anybody is let in who is refused behind
_END = b"\r\n\r\n"
_MORE_LIKE_THIS = "/v1/more-like-this/"
_MORE_LIKE_THIS_ROUTE = "/v1/more-like-this/{entity_id}"
Headers = dict[bytes, bytes]


class LoadShedder:
    """Refuses for one application, of which each worker has one. Its event loop runs."""

    def __init__(self, live: ServingState) -> None:
        self._state = live
        self._origins = live.settings.origins()
        self._patience_s = SHARE * live.settings.timeout_ms / 1000
        self._coming = 0  # let in during this turn of the event loop; in the next they are admitted, or refused
        self._refused = Counter[str]()  # during this turn, by route; counted in one go
        self._called = False

    def answer(self, data: bytes) -> bytes | None:
        """The whole answer to these bytes, where they are one whole request for a ranking and there is no room.

        A hundred requests may come within one turn of the event loop; who is let in takes room at once.
        """
        why = self._state.admission.why_full(self._patience_s, self._coming)
        asked = plain_ranking(data) if why else None
        self._reset_next_turn()
        if asked is None:
            self._coming += 1
            return None
        return self._refusal(why, *asked)

    def cors(self, origin: bytes | None) -> dict[str, str]:
        """What CORS adds to an answer to a request of that origin."""
        return cors_headers(self._origins, origin)

    def _reset_next_turn(self) -> None:
        if not self._called:
            self._called = True
            asyncio.get_running_loop().call_soon(self._turned)

    def _turned(self) -> None:
        self._called, self._coming = False, 0
        for route, count in self._refused.items():
            self._state.admission.refused(Priority.HIGH, count)
            self._state.metrics.count_refused(route, OverloadedError.status, OverloadedError.code, count)
        self._refused.clear()

    def _refusal(self, why: str, path: str, headers: Headers) -> bytes:
        self._refused[_MORE_LIKE_THIS_ROUTE if path.startswith(_MORE_LIKE_THIS) else path] += 1
        request_id = request_id_of(headers)
        retry_after_s = self._state.admission.retry_after_s(Priority.HIGH)
        cors = tuple(self.cors(headers.get(b"origin")).items())
        before, between, after = _answer(path, why, retry_after_s, len(request_id), cors)
        return b"".join((before, request_id.encode(), between, request_id.encode(), after))


def plain_ranking(data: bytes) -> tuple[str, Headers] | None:
    """Path and headers, where the bytes are exactly one request for a ranking whose length is stated once; else None.

    >>> plain_ranking(b"POST /v1/rank HTTP/1.1\\r\\nContent-Length: 2\\r\\n\\r\\n{}")
    ('/v1/rank', {b'content-length': b'2'})
    >>> plain_ranking(b"POST /v1/rank HTTP/1.1\\r\\nContent-Length: 3\\r\\n\\r\\n{}")
    """
    line, end = _RANKING.match(data), data.find(_END)
    if line is None:
        return None
    found = headers_in(data, line.end(), end)
    headers = dict(found)
    length = headers.get(b"content-length", b"")
    if (
        len(headers) != len(found)
        or not _NOT_PLAIN.isdisjoint(headers)
        or headers.get(b"connection", b"").lower() == b"close"
    ):
        return None
    if not _LENGTH.fullmatch(length) or len(data) != end + len(_END) + int(length):
        return None
    return line[1].decode("ascii", "replace"), headers


@lru_cache(256)
def _answer(
    path: str, why: str, retry_after_s: int, id_length: int, cors: tuple[tuple[str, str], ...]
) -> tuple[bytes, bytes, bytes]:
    """A refusal as bytes, in three parts: the request id stands between each two."""
    error = overloaded(Priority.HIGH, why, retry_after_s)
    here = "\x7f" * id_length  # no other part of an answer can hold it
    headers = {**error.headers(), **dict(cors), "x-request-id": here}
    before, between, after = raw_problem(problem_of(error, path, here), headers).split(here.encode())
    return before, between, after
