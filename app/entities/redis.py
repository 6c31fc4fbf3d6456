"""The second tier of entity records: Redis, one MGET per request and node. Any failure becomes a quick `TierError`.

A value is crc32 (4 bytes, big endian) + packed record; keys carry the model version.
"""

from __future__ import annotations

import asyncio
import math
import random
import zlib
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial

from app.entities.redis_client import by_node, connect, disconnect, learn, moves, read_many
from app.entities.redis_node import BreakerOpenError, BusyError, RedisNode
from app.entities.tier import TierError
from app.observability.metrics import Clock

READ_AT_ONCE = 1_024  # records of one reply: about 1 MB. Only larger requests take more than one round trip
_PUT_AT_ONCE = 256  # records of one pipeline: about 256 KB, so that a round trip stays short
_JITTER = 0.1  # lifetimes are shortened by up to this share, so that records written together do not expire together

Do = Callable[[RedisNode, list[str]], Awaitable[None]]  # an operation on the records of one node


class RedisTier:
    """Packed records in Redis, with a lifetime of `ttl_s` seconds or up to a tenth less. Never retries; a circuit
    breaker for each node stops calls to a dead one. `draw` returns numbers from 0 to below 1.
    """

    def __init__(
        self,
        url: str,
        version: str,
        timeout_ms: int,
        ttl_s: int,
        clock: Clock,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._timeout_s = timeout_ms / 1000
        self._ttl_s = ttl_s
        self._draw = draw
        self._clock = clock
        self._prefix = f"unirank:{version}:entity:"
        self._client = connect(url, self._timeout_s)
        self._first_node = RedisNode(clock)  # the only server, or the seed node of a cluster
        self._nodes = {"": self._first_node}
        self._nodes_known = not moves(self._client)
        self._discovery: asyncio.Task[None] | None = None
        self._reads: set[asyncio.Task[None]] = set()

    async def get(self, entity_ids: Sequence[str], within_s: float = math.inf) -> dict[str, bytes]:
        """The records found within `within_s` seconds, by id. Raises `TierError` if Redis fails or holds garbage.

        A read that takes longer, or whose caller is cancelled, continues in the background: the circuit breaker still
        learns its outcome, and no connection is dropped in the middle of a reply.
        """
        if not self._first_node.breaker.allows():
            raise TierError(str(BreakerOpenError()))
        results: dict[str, bytes] = {}
        read = asyncio.create_task(self._read(entity_ids, results))
        self._reads.add(read)
        read.add_done_callback(self._reads.discard)
        read.add_done_callback(_consume_exception)
        await asyncio.wait({read}, timeout=None if math.isinf(within_s) else max(0.0, within_s))
        if read.done():
            read.result()
        return dict(results)

    async def put(self, records: Mapping[str, bytes]) -> None:
        """Store these records. Raises `TierError` if Redis does not accept them all."""
        if not self._first_node.breaker.closed:
            raise TierError(str(BreakerOpenError()))
        try:
            await self._ensure_nodes_known()
            await self._for_each_node(list(records), partial(self._write_to_node, records))
        except Exception as error:
            raise _tier_error(error) from error

    async def close(self) -> None:
        """Cancel pending reads and close the connections."""
        tasks = [task for task in (*self._reads, self._discovery) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await disconnect(self._client)

    async def _read(self, entity_ids: Sequence[str], results: dict[str, bytes]) -> None:
        """Read records into `results`. Raises `TierError`, which carries them, if something failed."""
        try:
            await self._ensure_nodes_known()
            await self._for_each_node(entity_ids, partial(self._read_from_node, results))
        except Exception as error:  # no error of Redis may fail a ranking
            raise _tier_error(error, results) from error

    async def _for_each_node(self, entity_ids: Sequence[str], operation: Do) -> None:
        """Call `operation` for all nodes with their ids, concurrently. Raises the first error once all have ended."""
        start = len(self._prefix)
        groups = by_node(self._client, [self._prefix + entity_id for entity_id in entity_ids])
        calls = [
            operation(self._nodes.setdefault(name, RedisNode(self._clock)), [key[start:] for key in keys])
            for name, keys in groups.items()
        ]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        errors = [error for error in outcomes if isinstance(error, BaseException)]
        if errors:
            if not all(isinstance(error, (BusyError, BreakerOpenError, _GarbageError)) for error in errors):
                self._start_discovery(again=True)
            raise errors[0]

    async def _read_from_node(self, results: dict[str, bytes], node: RedisNode, entity_ids: list[str]) -> None:
        if node is not self._first_node and not node.breaker.allows():
            raise BreakerOpenError
        garbage = 0
        for batch in _batches(entity_ids, READ_AT_ONCE):
            values = await node.judged(partial(self._read_values, batch), self._timeout_s)
            records = {
                entity_id: record for entity_id, value in values.items() if (record := unpack(value)) is not None
            }
            results.update(records)
            garbage += len(values) - len(records)
        if garbage:
            raise _GarbageError(f"{garbage} values are not entity records")

    async def _read_values(self, entity_ids: Sequence[str]) -> dict[str, object]:
        """The stored values by id, missing ones left out. Raises if the reply is not that of an MGET."""
        reply = await read_many(self._client, [self._prefix + entity_id for entity_id in entity_ids])
        pairs = zip(entity_ids, reply, strict=True)
        return {entity_id: value for entity_id, value in pairs if value is not None}

    async def _write_to_node(self, records: Mapping[str, bytes], node: RedisNode, entity_ids: list[str]) -> None:
        if not node.breaker.closed:
            raise BreakerOpenError
        for batch in _batches(entity_ids, _PUT_AT_ONCE):
            await node.ask(
                partial(self._write_records, {entity_id: records[entity_id] for entity_id in batch}),
                2 * self._timeout_s,
            )

    async def _write_records(self, records: Mapping[str, bytes]) -> None:
        async with self._client.pipeline(transaction=False) as pipe:
            for entity_id, record in records.items():
                pipe.set(self._prefix + entity_id, pack(record), ex=lifetime_s(self._ttl_s, self._draw()))
            await pipe.execute()

    async def _ensure_nodes_known(self) -> None:
        """Wait at most one timeout until the client knows its nodes; discovery then continues in the background."""
        if self._nodes_known:
            return
        learning = self._start_discovery(again=False)
        try:
            await asyncio.wait({learning}, timeout=self._timeout_s)
            if not learning.done():
                raise TimeoutError("the nodes are being looked for")
            learning.result()
        except Exception:
            self._first_node.breaker.failed()
            raise
        self._first_node.breaker.succeeded()

    def _start_discovery(self, again: bool) -> asyncio.Task[None]:
        """Start discovering the nodes in the background, unless that is under way."""
        if self._discovery is None:
            self._discovery = asyncio.create_task(self._discover_nodes(again))
            self._discovery.add_done_callback(self._discovery_ended)
        return self._discovery

    async def _discover_nodes(self, again: bool) -> None:
        await learn(self._client, again)
        self._nodes_known = True

    def _discovery_ended(self, task: asyncio.Task[None]) -> None:
        self._discovery = None
        _consume_exception(task)


class _GarbageError(Exception):
    """Values that are not entity records."""


def lifetime_s(ttl_s: int, drawn: float) -> int:
    """Seconds that one record lives: up to a tenth less than `ttl_s`, at least one. `drawn`: from 0 to below 1.

    >>> [lifetime_s(100, drawn) for drawn in (0.0, 0.5, 0.99)]
    [100, 95, 90]
    >>> lifetime_s(0, 0.5)
    1
    """
    return max(1, round(ttl_s * (1 - _JITTER * drawn)))


def pack(record: bytes) -> bytes:
    """A record with its checksum in front."""
    return zlib.crc32(record).to_bytes(4, "big") + record


def unpack(value: object) -> bytes | None:
    """The record of a stored value, or None where the value is not one."""
    if not isinstance(value, bytes) or len(value) <= 4:
        return None
    record = value[4:]
    return record if zlib.crc32(record).to_bytes(4, "big") == value[:4] else None


def _tier_error(error: Exception, found: Mapping[str, bytes] | None = None) -> TierError:
    return TierError(
        str(error) if isinstance(error, BreakerOpenError) else f"redis: {type(error).__name__}: {error}", found
    )


def _consume_exception(task: asyncio.Task[None]) -> None:
    """Mark the exception of a task as retrieved: a caller that still waits for the task raises it itself."""
    if not task.cancelled():
        task.exception()


def _batches(entity_ids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(entity_ids), size):
        yield entity_ids[start : start + size]
