"""Hostile requests by number: valid ones bent in one or several places, or bytes that never were any. Sends nothing."""

from __future__ import annotations

import json
import random
from typing import Any
from urllib.parse import quote_from_bytes

from chaos.load import Ask

PATHS = (
    "/v1/rank", "/v1/search", "/v1/homepage", "/v1/more-like-this/e1", "/v1/events", "/v1/entities/e1", "/v1/limits",
    "/v1/models", "/v1/models/x/activate", "/metrics", "/readyz", "/", "/nowhere", "/v1/more-like-this/%00",
    "/v1//rank",
)  # fmt: skip
METHODS = ("POST",) * 12 + ("GET", "GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")
VALID: tuple[Any, ...] = (
    {"context": {"task": "search", "query": "a", "user_id": "u1", "history": ["e1"]}, "candidates": ["e1", "e2"]},
    {"context": {"task": "more_like_this", "source_entity_id": "e1"}, "limit": 5, "return": ["display_name"]},
    {"query": "toy", "limit": 3, "seen": "drop", "unknown": "last", "priority": "low", "timeout_ms": 200},
    {"user_id": "u1", "rows": [{"row_id": "a", "candidates": ["e1"], "limit": 2}], "dedupe": True},
    [{"type": "engagement", "timestamp": 1, "task": "search", "user_id": "u", "entity_id": "e1", "label": 1}],
)
NASTY: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 10**30, -(10**30), 1e308, "", "x" * 3000, "a\u0000b", "\ud800", "\u202etoy",
    "😀" * 90,
    "../../etc/passwd", "' OR 1=1 --", "<script>", [], {}, [[]], [{}], {"a": {"b": [None]}}, ["e1"] * 50,
    [None], ["", "e1"],
)  # fmt: skip
RAW = (
    b"", b"{", b"[", b"null", b"\xff\xfe", b"NaN", b'{"a":NaN}', b'{"a":1e999}', b"[" * 5000, b'{"a":' * 5000,
    b'"\\ud800"', b"\x00" * 100, b'{"query":"a","query":"b"}', b'{"query":"a"} trailing', b"1" * 5000,
    b'{"query":"\xed\xa0\x80"}', b"\xef\xbb\xbf{}", "{}".encode("utf-16"),
)  # fmt: skip
HEADERS = (
    {}, {"content-type": "text/plain"}, {"content-type": "application/json; charset=latin-1"}, {"x-request-id": "a b"},
    {"x-request-id": "x" * 5000}, {"traceparent": "00-zz-1-1"}, {"accept": "image/png"}, {"authorization": "Bearer ü"},
    {"content-encoding": "gzip"}, {"expect": "nothing"}, {"x-forwarded-for": "' --"}, {"cookie": "a" * 4000},
)  # fmt: skip


def hostile(rng: random.Random) -> tuple[Ask, dict[str, bytes]]:
    """One request and its headers; the same for the same state of `rng`."""
    path = rng.choice(PATHS)
    if rng.random() < 0.2:
        path += "?" + quote_from_bytes(rng.randbytes(rng.randrange(20)), safe="=&")
    headers = {name: value.encode("utf-8") for name, value in rng.choice(HEADERS).items()}
    return Ask(path, _body(rng), rng.choice(METHODS)), headers


def _body(rng: random.Random) -> bytes:
    if rng.random() < 0.15:
        return rng.choice(RAW)
    document = json.loads(json.dumps(rng.choice(VALID)))
    for _ in range(rng.randrange(4)):
        document = _bent(document, rng)
    body = json.dumps(document).encode()
    if rng.random() < 0.15 and body:
        place = rng.randrange(len(body))
        body = body[:place] + rng.randbytes(rng.randrange(4)) + body[place + rng.randrange(4) :]
    return body


def _bent(value: Any, rng: random.Random) -> Any:
    """The same document with one place replaced, removed, doubled or named otherwise."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        key = rng.choice(list(value))
        what = rng.random()
        if what < 0.15:
            return {other: part for other, part in value.items() if other != key}
        if what < 0.3:
            return {**value, rng.choice(("", "x", "task", "limit", "query", "\u0000", "history")): rng.choice(NASTY)}
        return {**value, key: _bent(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        place = rng.randrange(len(value))
        return [*value[:place], _bent(value[place], rng), *value[place:]]
    return rng.choice(NASTY)
