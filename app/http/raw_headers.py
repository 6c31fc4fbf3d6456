"""The one parser of heads that no application sees: headers out of bare bytes, for what is refused from those alone."""

from __future__ import annotations

import re
from collections.abc import Sequence

Headers = Sequence[tuple[bytes, bytes]]
_HEADER = re.compile(rb"\r\n([^:\r\n]+):[ \t]*([^\r\n]*)")


def headers_in(data: bytes, start: int = 0, end: int | None = None) -> list[tuple[bytes, bytes]]:
    """Name in lower case and value of each header between two places.

    >>> headers_in(b"GET / HTTP/1.1\\r\\nOrigin: https://shop.example\\r\\nA:b \\r\\n")
    [(b'origin', b'https://shop.example'), (b'a', b'b')]
    """
    found = _HEADER.findall(data, start, len(data) if end is None else end)
    return [(name.lower(), value.rstrip()) for name, value in found]


def origin_in(data: bytes, headers: Headers) -> bytes | None:
    """The origin that a head names, of which some `headers` are parsed and `data` came last."""
    return next((value for name, value in (*headers_in(data), *headers) if name == b"origin" and value), None)
