"""The quickest no: where there is no room, a request for a ranking is refused from its bytes alone.

Under overload most of the work is to refuse; through the whole application a refusal costs as much as a tenth of a
ranking, and five times the load would leave half of the processor for rankings. What is not plain to see, be it a body
that comes in pieces, goes the long way and gets the same answer there.
"""

from __future__ import annotations

import asyncio
import re

import msgspec

from app.admission import Priority
from app.door import SAFE_HEADERS, request_id_of
from app.errors import PROBLEM_JSON, OverloadedError, Problem
from app.live import Live

_RANKING = re.compile(rb"POST (/v1/(?:rank|search|homepage|batch|more-like-this/[^ ?]+))(?:\?[^ ]*)? HTTP/1\.1\r\n")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,9})[ \t]*(?=\r\n)", re.IGNORECASE)
_NOT_PLAIN = re.compile(rb"\r\n(?:transfer-encoding|expect|upgrade|connection:[ \t]*close)", re.IGNORECASE)
_ID = re.compile(rb"\r\n(x-request-id|traceparent):[ \t]*([^\r\n]*?)[ \t]*(?=\r\n)", re.IGNORECASE)
SHARE = 0.8  # of the patience that others have, so that hardly anybody is let in who is refused behind
_END = b"\r\n\r\n"
_MORE_LIKE_THIS = "/v1/more-like-this/"
_SAFE = b"".join(name + b": " + value + b"\r\n" for name, value in SAFE_HEADERS)


class QuickNo:
    """Refuses for one application, of which each worker has one. Its event loop runs."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._patience_s = SHARE * live.settings.timeout_ms / 1000
        self._coming = 0  # let in during this turn of the event loop; in the next they are admitted, or refused

    def answer(self, data: bytes) -> bytes | None:
        """The whole answer to these bytes, where they are one whole request for a ranking and there is no room.

        A hundred requests may come within one turn of the event loop; who is let in takes room at once.
        """
        why = self._live.gate.no_room(self._patience_s, self._coming)
        path = plain_ranking(data) if why else None
        if path is None:
            self._let_in()
            return None
        return self._refused(why, path, data)

    def _let_in(self) -> None:
        if not self._coming:
            asyncio.get_running_loop().call_soon(self._turned)
        self._coming += 1

    def _turned(self) -> None:
        self._coming = 0

    def _refused(self, why: str, path: str, data: bytes) -> bytes:
        error = self._live.gate.refusal(Priority.HIGH, why)
        route = f"{_MORE_LIKE_THIS}{{entity_id}}" if path.startswith(_MORE_LIKE_THIS) else path
        self._live.telemetry.request(route, error.status, error.code, 0.0)
        return _written(error, path, _request_id(data))


def plain_ranking(data: bytes) -> str | None:
    """The path, where the bytes are exactly one request for a ranking whose length is stated once; else None.

    >>> plain_ranking(b"POST /v1/rank HTTP/1.1\\r\\nContent-Length: 2\\r\\n\\r\\n{}")
    '/v1/rank'
    >>> plain_ranking(b"POST /v1/rank HTTP/1.1\\r\\nContent-Length: 3\\r\\n\\r\\n{}")
    """
    line, end = _RANKING.match(data), data.find(_END)
    if line is None or end < 0:
        return None
    head = data[: end + 2]
    lengths = _LENGTH.findall(head)
    if len(lengths) != 1 or len(data) != end + len(_END) + int(lengths[0]) or _NOT_PLAIN.search(head):
        return None
    return line[1].decode("ascii", "replace")


def _request_id(data: bytes) -> str:
    head = data[: data.find(_END) + 2]
    return request_id_of((name.lower(), value) for name, value in _ID.findall(head))


def _written(error: OverloadedError, path: str, request_id: str) -> bytes:
    kind = f"urn:unirank:problem:{error.code}"
    body = msgspec.json.encode(Problem(kind, error.title, error.status, error.detail, path, [], request_id))
    headers = {**error.headers(), "content-type": PROBLEM_JSON, "content-length": len(body), "x-request-id": request_id}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {error.status} {error.title}\r\n{lines}".encode() + _SAFE + b"\r\n" + body
