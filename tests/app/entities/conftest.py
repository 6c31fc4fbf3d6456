"""A Redis server for the tests of entity records."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis_server import real_redis


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    """The URL of a server that the tests of one file share."""
    with real_redis() as server:
        yield server.connection_url
