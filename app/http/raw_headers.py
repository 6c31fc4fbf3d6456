"""Parses headers from raw bytes, for requests that are refused before the application sees them. Parses no bodies."""

from __future__ import annotations

import re
from collections.abc import Sequence

Headers = Sequence[tuple[bytes, bytes]]
_HEADER = re.compile(rb"\r\n([^:\r\n]+):[ \t]*([^\r\n]*)")


def headers_in(data: bytes, start: int = 0, end: int | None = None) -> list[tuple[bytes, bytes]]:
    """The name, in lower case, and value of each header between two byte positions.

    >>> headers_in(b"GET / HTTP/1.1\\r\\nOrigin: https://shop.example\\r\\nA:b \\r\\n")
    [(b'origin', b'https://shop.example'), (b'a', b'b')]
    """
    pairs = _HEADER.findall(data, start, len(data) if end is None else end)
    return [(name.lower(), value.rstrip()) for name, value in pairs]


def origin_in(data: bytes, headers: Headers) -> bytes | None:
    """The `Origin` of a request head: from `data`, the bytes received last, or from the `headers` parsed before."""
    return next((value for name, value in (*headers_in(data), *headers) if name == b"origin" and value), None)
