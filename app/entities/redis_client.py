"""A client for a Redis URL (`redis_url.py`): one server, a Sentinel's primary, or a cluster. Sends nothing by itself.

At most `CONNECTIONS` callers use a client at once for each server. Further callers wait before they use it
(`redis_node.py`), because the pools of Sentinels and clusters raise an error where other pools wait.
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

CONNECTIONS = 16  # the most, from one process to one server
_SPARE = 4  # further connections for the discovery of cluster nodes and for redirected commands
_NOWHERE = "nowhere"  # the name of a node for keys that no cluster node holds; requests to it fail
Client = Redis | RedisCluster


def connect(url: str, timeout_s: float) -> Client:
    """A client that waits up to `timeout_s` for any reply and never retries. Raises `RedisUrlError`."""
    target = parse(url)
    limits: dict[str, Any] = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "protocol": 2,
        "max_connections": CONNECTIONS + _SPARE,
        **target.options,
    }
    if target.kind == "sentinel":
        return _primary_client(target, limits)
    if target.kind == "cluster":
        [(host, port)] = target.addresses
        return RedisCluster(
            host=host, port=port, ssl=target.tls, require_full_coverage=False, retry=_no_retries(), **limits
        )
    return Redis.from_pool(
        ConnectionPool(
            connection_class=_connection_class(target), retry=_no_retries(), **_host_and_port(target), **limits
        )
    )


async def learn(client: Client, again: bool) -> None:
    """Discover which node holds which keys, or the primary's address. May take longer than one reply."""
    if isinstance(client, RedisCluster):
        await (client.nodes_manager.initialize() if again else client.initialize())
    elif moves(client):
        pool: Any = client.connection_pool  # of Sentinels; its methods are not typed
        await pool.get_master_address()


def moves(client: Client) -> bool:
    """Whether the place of a key can change, so that nodes have to be discovered."""
    return isinstance(client, RedisCluster) or isinstance(client.connection_pool, SentinelConnectionPool)


def by_node(client: Client, keys: Sequence[str]) -> dict[str, list[str]]:
    """The keys by the name of the node that holds them; "" = the only node."""
    if not isinstance(client, RedisCluster):
        return {"": list(keys)}
    keys_by_node: dict[str, list[str]] = {}
    for key in keys:
        try:
            node = client.get_node_from_key(key)
        except SlotNotCoveredError:
            node = None
        keys_by_node.setdefault(_NOWHERE if node is None else node.name, []).append(key)
    return keys_by_node


async def read_many(client: Client, keys: Sequence[str]) -> list[object]:
    """The values of keys of one node, in one round trip."""
    if isinstance(client, RedisCluster):
        return list(await client.mget_nonatomic(list(keys)))
    return list(await client.mget(list(keys)))


async def disconnect(client: Client) -> None:
    """Close the connections of a client, including those to Sentinels."""
    await client.aclose()
    if isinstance(client, Redis):
        await client.connection_pool.disconnect()  # also those in use
        if isinstance(client.connection_pool, SentinelConnectionPool):
            for sentinel in client.connection_pool.sentinel_manager.sentinels:
                await sentinel.aclose()


def _no_retries() -> Retry:
    return Retry(NoBackoff(), 0)  # redis-py's default retries cost 3 s on a dead server


def _connection_class(target: Target) -> type[Connection | UnixDomainSocketConnection]:
    if not target.addresses:
        return UnixDomainSocketConnection
    return SSLConnection if target.tls else Connection


def _host_and_port(target: Target) -> dict[str, Any]:
    if not target.addresses:
        return {}  # the path of the socket is among the options
    [(host, port)] = target.addresses
    return {"host": host, "port": port}


def _primary_client(target: Target, limits: dict[str, Any]) -> Redis:
    options = {**limits, **({"ssl": True} if target.tls else {}), "retry": _no_retries()}
    credentials = {name: options.pop(name) for name in ("username", "password") if name in options}
    # a Sentinel that is down costs one attempt, then the next one is tried
    sentinel = Sentinel(target.addresses, sentinel_kwargs=options, **options, **credentials)  # type: ignore[no-untyped-call]
    client: Redis = sentinel.master_for(target.service)
    return client
