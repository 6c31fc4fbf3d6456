"""A problem document as the bytes of a whole HTTP answer, for what is refused before an application sees it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from app.errors import PROBLEM_JSON, Problem
from app.http.middleware import SAFE_HEADERS

_SAFE = b"".join(name + b": " + value + b"\r\n" for name, value in SAFE_HEADERS)


def raw_problem(problem: Problem, headers: Mapping[str, str]) -> bytes:
    """Status line, `headers` and those of every answer, body."""
    body = msgspec.json.encode(problem)
    every = {**headers, "content-type": PROBLEM_JSON, "content-length": str(len(body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in every.items())
    return f"HTTP/1.1 {problem.status} {problem.title}\r\n{lines}".encode() + _SAFE + b"\r\n" + body
