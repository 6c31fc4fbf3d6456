"""A client for a Redis URL (`redis_url.py`): one server, a Sentinel's primary, or a cluster. Sends nothing by itself.

A client is asked by at most `CONNECTIONS` callers at once for each server: who comes later waits outside, because the
pools of Sentinels and of clusters raise where another waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.connection import Connection, ConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import SlotNotCoveredError

from app.entities.redis_url import Target, parse

CONNECTIONS = 16  # at most, of one process to one server
_SPARE = 4  # connections that a look at the nodes of a cluster and a redirected command take beside them
_NOWHERE = "nowhere"  # the name of a node that holds what no node of a cluster holds; asking it fails
Client = Redis | RedisCluster


def connect(url: str, timeout_s: float) -> Client:
    """A client that waits `timeout_s` for any reply, and tries nothing twice. Raises `RedisUrlError`."""
    target = parse(url)
    limits: dict[str, Any] = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "protocol": 2,
        "max_connections": CONNECTIONS + _SPARE,
        **target.options,
    }
    if target.kind == "sentinel":
        return _primary(target, limits)
    if target.kind == "cluster":
        [(host, port)] = target.addresses
        return RedisCluster(host=host, port=port, ssl=target.tls, require_full_coverage=False, retry=_once(), **limits)
    return Redis.from_pool(ConnectionPool(connection_class=_kind(target), retry=_once(), **_place(target), **limits))


async def learn(client: Client, again: bool) -> None:
    """Find out which node holds what, or where the primary is; it may have moved. May take longer than one answer."""
    if isinstance(client, RedisCluster):
        await (client.nodes_manager.initialize() if again else client.initialize())
    elif moves(client):
        pool: Any = client.connection_pool  # of Sentinels; its methods have no types
        await pool.get_master_address()


def moves(client: Client) -> bool:
    """Whether there is something to learn: where a key is can change."""
    return isinstance(client, RedisCluster) or isinstance(client.connection_pool, SentinelConnectionPool)


def by_node(client: Client, keys: Sequence[str]) -> dict[str, list[str]]:
    """The keys by the name of the node that holds them; "" = the only one."""
    if not isinstance(client, RedisCluster):
        return {"": list(keys)}
    found: dict[str, list[str]] = {}
    for key in keys:
        try:
            node = client.get_node_from_key(key)
        except SlotNotCoveredError:
            node = None
        found.setdefault(_NOWHERE if node is None else node.name, []).append(key)
    return found


async def read_many(client: Client, keys: Sequence[str]) -> list[object]:
    """The values of keys that one node holds, in one round trip."""
    if isinstance(client, RedisCluster):
        return list(await client.mget_nonatomic(list(keys)))
    return list(await client.mget(list(keys)))


async def disconnect(client: Client) -> None:
    """Close the connections of a client, those to Sentinels included."""
    await client.aclose()
    if isinstance(client, Redis):
        await client.connection_pool.disconnect()  # those in use, too
        if isinstance(client.connection_pool, SentinelConnectionPool):
            for sentinel in client.connection_pool.sentinel_manager.sentinels:
                await sentinel.aclose()


def _once() -> Retry:
    return Retry(NoBackoff(), 0)  # redis-py's default retries cost 3 s on a dead server


def _kind(target: Target) -> type[Connection | UnixDomainSocketConnection]:
    if not target.addresses:
        return UnixDomainSocketConnection
    return SSLConnection if target.tls else Connection


def _place(target: Target) -> dict[str, Any]:
    if not target.addresses:
        return {}  # the path of its socket is among the options
    [(host, port)] = target.addresses
    return {"host": host, "port": port}


def _primary(target: Target, limits: dict[str, Any]) -> Redis:
    options = {**limits, **({"ssl": True} if target.tls else {}), "retry": _once()}
    credentials = {name: options.pop(name) for name in ("username", "password") if name in options}
    # a Sentinel that is gone costs one try, and the next is asked
    sentinel = Sentinel(target.addresses, sentinel_kwargs=options, **options, **credentials)  # type: ignore[no-untyped-call]
    client: Redis = sentinel.master_for(target.service)
    return client
