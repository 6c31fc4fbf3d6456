"""The second tier of entity records: Redis, one MGET a request. Any fault ends as `TierError`, quickly.

A value is crc32 (4 bytes, big endian) + packed record; keys carry the model version.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping, Sequence
from itertools import islice

from app.entity_store.breaker import Breaker
from app.entity_store.redis_client import connect, disconnect, prepare, read_many
from app.entity_store.tier import TierError
from app.telemetry import Clock

_PUT_AT_ONCE = 256  # records of one pipeline: about 256 KB, so that a round trip stays short


class RedisTier:
    """Packed records in Redis, for `ttl_s` seconds. No retry; a breaker spares a dead server."""

    def __init__(self, url: str, version: str, timeout_ms: int, ttl_s: int, clock: Clock) -> None:
        self._timeout_s = timeout_ms / 1000
        self._ttl_s = ttl_s
        self._prefix = f"unirank:{version}:entity:"
        self._breaker = Breaker(clock)
        self._client = connect(url, self._timeout_s)
        self._preparing: asyncio.Task[None] | None = None

    async def get(self, entity_ids: Sequence[str]) -> dict[str, bytes]:
        """The records held here, by id. Raises `TierError` where Redis fails or holds garbage."""
        if not self._breaker.allows():
            raise TierError("redis is left alone for a moment after failures in a row")
        try:
            await self._prepared()
            async with asyncio.timeout(self._timeout_s):
                reply = await read_many(self._client, [self._prefix + entity_id for entity_id in entity_ids])
            held = _held(entity_ids, reply)
        except Exception as error:  # whatever it is, a ranking does not fail because of it
            self._breaker.failed()
            raise TierError(f"redis: {type(error).__name__}: {error}") from error
        self._breaker.succeeded()
        return _unpacked(held)

    async def put(self, records: Mapping[str, bytes]) -> None:
        """Hold these records. Raises `TierError` where Redis does not take them."""
        if not self._breaker.closed:
            raise TierError("redis is left alone for a moment after failures in a row")
        try:
            for some in _batches(records):
                await self._put(some)
        except Exception as error:
            raise TierError(f"redis: {type(error).__name__}: {error}") from error

    async def _prepared(self) -> None:
        """Wait for what a client must learn first, as long as for any answer; it goes on learning when that is over."""
        if self._preparing is None:
            self._preparing = asyncio.create_task(prepare(self._client))
        await asyncio.wait({self._preparing}, timeout=self._timeout_s)
        if not self._preparing.done():
            raise TimeoutError("the cluster is being looked at")
        if self._preparing.exception() is not None:
            failed, self._preparing = self._preparing, None
            failed.result()

    async def _put(self, records: Mapping[str, bytes]) -> None:
        async with asyncio.timeout(self._timeout_s * 2), self._client.pipeline(transaction=False) as pipe:
            for entity_id, record in records.items():
                pipe.set(self._prefix + entity_id, pack(record), ex=self._ttl_s)
            await pipe.execute()

    async def close(self) -> None:
        """Close the connections."""
        if self._preparing is not None:
            self._preparing.cancel()
            await asyncio.gather(self._preparing, return_exceptions=True)
        await disconnect(self._client)


def pack(record: bytes) -> bytes:
    """A record with its checksum before it."""
    return zlib.crc32(record).to_bytes(4, "big") + record


def unpack(value: object) -> bytes | None:
    """The record of a stored value, or None where the value is not one."""
    if not isinstance(value, bytes) or len(value) <= 4:
        return None
    record = value[4:]
    return record if zlib.crc32(record).to_bytes(4, "big") == value[:4] else None


def _held(entity_ids: Sequence[str], reply: Sequence[object]) -> dict[str, object]:
    """The values of a reply by id, without the gaps. Raises where the reply is not that of an MGET."""
    pairs = zip(entity_ids, reply, strict=True)
    return {entity_id: value for entity_id, value in pairs if value is not None}


def _unpacked(held: Mapping[str, object]) -> dict[str, bytes]:
    unpacked = {entity_id: unpack(value) for entity_id, value in held.items()}
    found = {entity_id: record for entity_id, record in unpacked.items() if record is not None}
    if len(found) < len(held):
        raise TierError(f"redis: {len(held) - len(found)} values are not entity records", found)
    return found


def _batches(records: Mapping[str, bytes]) -> list[dict[str, bytes]]:
    left = iter(records.items())
    batches = []
    while some := dict(islice(left, _PUT_AT_ONCE)):
        batches.append(some)
    return batches
