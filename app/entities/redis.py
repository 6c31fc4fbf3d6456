"""The second tier of entity records: Redis, one MGET a request to each node. Any fault ends as `TierError`, quickly.

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
from app.entities.redis_node import BusyError, LeftAloneError, RedisNode
from app.entities.tier import TierError
from app.observability.metrics import Clock

READ_AT_ONCE = 1_024  # records of one reply: about 1 MB. Only requests of more take more than one round trip
_PUT_AT_ONCE = 256  # records of one pipeline: about 256 KB, so that a round trip stays short
_JITTER = 0.1  # share of a lifetime by which it may be shorter, so that what was written together does not end together

Do = Callable[[RedisNode, list[str]], Awaitable[None]]  # something with those records that one node holds


class RedisTier:
    """Packed records in Redis, for `ttl_s` seconds or a little less. No retry; a breaker spares a dead server, in a
    cluster each node by itself. `draw` gives numbers from 0 to below 1.
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
        self._first = RedisNode(clock)  # the one server, or whoever knows the nodes of a cluster
        self._nodes = {"": self._first}
        self._learned = not moves(self._client)
        self._learning: asyncio.Task[None] | None = None
        self._reads: set[asyncio.Task[None]] = set()

    async def get(self, entity_ids: Sequence[str], within_s: float = math.inf) -> dict[str, bytes]:
        """The records found here within so many seconds, by id. Raises `TierError` where Redis fails or holds garbage.

        What takes longer goes on without its caller, and so does what a caller leaves: how Redis does is then known
        all the same, and no connection is given up in the middle of a reply.
        """
        if not self._first.breaker.allows():
            raise TierError(str(LeftAloneError()))
        found: dict[str, bytes] = {}
        read = asyncio.create_task(self._read(entity_ids, found))
        self._reads.add(read)
        read.add_done_callback(self._reads.discard)
        read.add_done_callback(_taken_note_of)
        await asyncio.wait({read}, timeout=None if math.isinf(within_s) else max(0.0, within_s))
        if read.done():
            read.result()
        return dict(found)

    async def put(self, records: Mapping[str, bytes]) -> None:
        """Hold these records. Raises `TierError` where Redis does not take them all."""
        if not self._first.breaker.closed:
            raise TierError(str(LeftAloneError()))
        try:
            await self._know_nodes()
            await self._at_nodes(list(records), partial(self._put_at, records))
        except Exception as error:
            raise _tier_error(error) from error

    async def close(self) -> None:
        """Close the connections; what is being read is left."""
        tasks = [task for task in (*self._reads, self._learning) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await disconnect(self._client)

    async def _read(self, entity_ids: Sequence[str], found: dict[str, bytes]) -> None:
        """Put what is held into `found`. Raises `TierError` with it where something failed."""
        try:
            await self._know_nodes()
            await self._at_nodes(entity_ids, partial(self._get_at, found))
        except Exception as error:  # whatever it is, a ranking does not fail because of it
            raise _tier_error(error, found) from error

    async def _at_nodes(self, entity_ids: Sequence[str], do: Do) -> None:
        """Ask each node for its own at once. One that fails does not keep the others from answering; then raises."""
        start = len(self._prefix)
        groups = by_node(self._client, [self._prefix + entity_id for entity_id in entity_ids])
        asked = [
            do(self._nodes.setdefault(name, RedisNode(self._clock)), [key[start:] for key in keys])
            for name, keys in groups.items()
        ]
        ended = await asyncio.gather(*asked, return_exceptions=True)
        errors = [error for error in ended if isinstance(error, BaseException)]
        if errors:
            if not all(isinstance(error, (BusyError, LeftAloneError, _GarbageError)) for error in errors):
                self._learn(again=True)
            raise errors[0]

    async def _get_at(self, found: dict[str, bytes], node: RedisNode, entity_ids: list[str]) -> None:
        if node is not self._first and not node.breaker.allows():
            raise LeftAloneError
        garbage = 0
        for some in _batches(entity_ids, READ_AT_ONCE):
            held = await node.judged(partial(self._held, some), self._timeout_s)
            records = {entity_id: record for entity_id, value in held.items() if (record := unpack(value)) is not None}
            found.update(records)
            garbage += len(held) - len(records)
        if garbage:
            raise _GarbageError(f"{garbage} values are not entity records")

    async def _held(self, entity_ids: Sequence[str]) -> dict[str, object]:
        """The values by id, without the gaps. Raises where the reply is not that of an MGET."""
        reply = await read_many(self._client, [self._prefix + entity_id for entity_id in entity_ids])
        pairs = zip(entity_ids, reply, strict=True)
        return {entity_id: value for entity_id, value in pairs if value is not None}

    async def _put_at(self, records: Mapping[str, bytes], node: RedisNode, entity_ids: list[str]) -> None:
        if not node.breaker.closed:
            raise LeftAloneError
        for some in _batches(entity_ids, _PUT_AT_ONCE):
            await node.ask(
                partial(self._put, {entity_id: records[entity_id] for entity_id in some}), 2 * self._timeout_s
            )

    async def _put(self, records: Mapping[str, bytes]) -> None:
        async with self._client.pipeline(transaction=False) as pipe:
            for entity_id, record in records.items():
                pipe.set(self._prefix + entity_id, pack(record), ex=lifetime_s(self._ttl_s, self._draw()))
            await pipe.execute()

    async def _know_nodes(self) -> None:
        """Wait for what a client must learn first, as long as for any answer; it goes on learning when that is over."""
        if self._learned:
            return
        learning = self._learn(again=False)
        try:
            await asyncio.wait({learning}, timeout=self._timeout_s)
            if not learning.done():
                raise TimeoutError("the nodes are being looked for")
            learning.result()
        except Exception:
            self._first.breaker.failed()
            raise
        self._first.breaker.succeeded()

    def _learn(self, again: bool) -> asyncio.Task[None]:
        """Learn where records are, behind whatever is asked meanwhile; once at a time."""
        if self._learning is None:
            self._learning = asyncio.create_task(self._learned_from(again))
            self._learning.add_done_callback(self._learning_ended)
        return self._learning

    async def _learned_from(self, again: bool) -> None:
        await learn(self._client, again)
        self._learned = True

    def _learning_ended(self, task: asyncio.Task[None]) -> None:
        self._learning = None
        _taken_note_of(task)


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
    """A record with its checksum before it."""
    return zlib.crc32(record).to_bytes(4, "big") + record


def unpack(value: object) -> bytes | None:
    """The record of a stored value, or None where the value is not one."""
    if not isinstance(value, bytes) or len(value) <= 4:
        return None
    record = value[4:]
    return record if zlib.crc32(record).to_bytes(4, "big") == value[:4] else None


def _tier_error(error: Exception, found: Mapping[str, bytes] | None = None) -> TierError:
    return TierError(
        str(error) if isinstance(error, LeftAloneError) else f"redis: {type(error).__name__}: {error}", found
    )


def _taken_note_of(task: asyncio.Task[None]) -> None:
    """Who still waits for it raises what it raised; where nobody does, it is no news."""
    if not task.cancelled():
        task.exception()


def _batches(entity_ids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(entity_ids), size):
        yield entity_ids[start : start + size]
