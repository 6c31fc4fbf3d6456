"""Checks that a server answers as the model does. A server with other answers is not timed."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

from bench.request_set import Expected, RequestSet

TOLERANCE = 1e-4
PATIENCE_S = 60.0


class DifferentAnswerError(ValueError):
    """A server's answer differs from that of the model."""


def check_answers(url: str, path: str, asks: Iterable[RequestSet]) -> int:
    """Send all bodies with an expected answer and compare; returns their number. Raises `DifferentAnswerError`."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE_S)
    pairs = [pair for same_size in asks for pair in zip(same_size.bodies, same_size.expected, strict=False)]
    try:
        for body, expected in pairs:
            check_items(_items(connection, path, body), expected)
    finally:
        connection.close()
    return len(pairs)


def answers_at_all(url: str, path: str, body: bytes) -> None:
    """Send one request. Raises `OSError` or `DifferentAnswerError`."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE_S)
    try:
        _items(connection, path, body)
    except http.client.HTTPException as error:
        raise DifferentAnswerError(f"expected HTTP, got {type(error).__name__}") from error
    finally:
        connection.close()


def check_items(items: Sequence[dict[str, Any]], expected: Expected) -> None:
    """Check candidates, scores (within 1e-4) and order; only candidates with logits within 1e-4 may swap positions."""
    ids = [item["id"] for item in items]
    if sorted(ids) != sorted(expected.ids):
        raise DifferentAnswerError(f"expected the {len(expected.ids)} candidates, got {len(ids)} other items")
    for item in items:
        if item["score"] is None or abs(item["score"] - expected.scores[item["id"]]) > TOLERANCE:
            expected_score = expected.scores[item["id"]]
            raise DifferentAnswerError(f"{item['id']}: expected a score of {expected_score:.6f}, got {item['score']}")
    for above, below in pairwise(ids):
        if expected.logits[above] < expected.logits[below] - TOLERANCE:
            raise DifferentAnswerError(f"'{above}' stands above '{below}', which has the higher logit")


def _items(connection: http.client.HTTPConnection, path: str, body: bytes) -> list[dict[str, Any]]:
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != http.client.OK:
        raise DifferentAnswerError(f"expected status 200, got {answer.status}: {text[:200].decode(errors='replace')}")
    items: list[dict[str, Any]] = json.loads(text)["items"]
    return items
