"""A client for a Redis URL: one server, a Sentinel's primary, or a cluster. Sets limits, sends nothing.

`redis://`, `rediss://` (TLS) and `unix://` as redis-py reads them, user and password included;
`redis+sentinel://[user:password@]host:port[,host:port…]/service` and `redis+cluster://host:port` (`rediss+…` for TLS,
`?ssl_ca_certs=FILE` for an authority of one's own).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff

CONNECTIONS = 16  # at most, of one process; a caller that finds none free waits as long as for an answer
_SENTINEL, _CLUSTER = "+sentinel", "+cluster"


def connect(url: str, timeout_s: float) -> Redis | RedisCluster:
    """A client that waits `timeout_s` for anything, and tries nothing twice. Raises ValueError on a bad URL."""
    limits: dict[str, Any] = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "protocol": 2,
    }
    scheme = urlsplit(url).scheme
    if scheme.endswith(_SENTINEL):
        return _primary(url, limits)
    retry = Retry(NoBackoff(), 0)  # redis-py's default retries cost 3 s on a dead server
    if scheme.endswith(_CLUSTER):
        plain = url.replace(_CLUSTER, "", 1)
        return RedisCluster.from_url(plain, max_connections=CONNECTIONS, retry=retry, **limits)
    pool = BlockingConnectionPool.from_url(url, max_connections=CONNECTIONS, timeout=timeout_s, retry=retry, **limits)
    return Redis.from_pool(pool)


async def prepare(client: Redis | RedisCluster) -> None:
    """Learn who holds what in a cluster, which may take longer than one answer; others need nothing."""
    if isinstance(client, RedisCluster):
        await client.initialize()


async def read_many(client: Redis | RedisCluster, keys: Sequence[str]) -> list[object]:
    """The values of many keys in one round trip, in a cluster one to each node."""
    if isinstance(client, RedisCluster):
        return list(await client.mget_nonatomic(list(keys)))
    return list(await client.mget(list(keys)))


async def disconnect(client: Redis | RedisCluster) -> None:
    """Close the connections of a client, those to Sentinels included."""
    await client.aclose()
    if isinstance(client, Redis) and isinstance(client.connection_pool, SentinelConnectionPool):
        for sentinel in client.connection_pool.sentinel_manager.sentinels:
            await sentinel.aclose()


def _primary(url: str, limits: dict[str, Any]) -> Redis:
    parts = urlsplit(url)
    service = parts.path.strip("/")
    if not service:
        raise ValueError("a Sentinel URL names its service: redis+sentinel://host:26379/mymaster")
    credentials = {
        name: unquote(value)
        for name, value in (("username", parts.username), ("password", parts.password))
        if value is not None
    }
    sentinels = [_address(host) for host in parts.netloc.rpartition("@")[2].split(",")]
    authority = parse_qs(parts.query).get("ssl_ca_certs", [None])[0]
    tls = {"ssl": True, "ssl_ca_certs": authority} if parts.scheme.startswith("rediss") else {}
    options = {**limits, **tls}
    sentinel = Sentinel(sentinels, sentinel_kwargs=options, **options, **credentials)  # type: ignore[no-untyped-call]
    client: Redis = sentinel.master_for(service, retry=Retry(NoBackoff(), 0), max_connections=CONNECTIONS)
    return client


def _address(host: str) -> tuple[str, int]:
    name, _, port = host.rpartition(":")
    if not name or not port.isdigit():
        raise ValueError(f"expected host:port of a Sentinel, got '{host}'")
    return name, int(port)
