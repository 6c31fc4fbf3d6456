"""The larder: records of many entities in one gather, from memory, else Redis, else computed.

A record is packed once and every tier hands out those same bytes, so that no cache can change an order.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from app.entity_store.memory import MemoryTier
from app.entity_store.redis import RedisTier, TierError
from app.scoring import ComputeThread
from app.telemetry import Telemetry

CACHE_UNAVAILABLE = "cache_unavailable"
_WRITES_UNDER_WAY = 8  # write-backs that may run at once; further ones are left out: the next miss brings them

_log = logging.getLogger("unirank.entity_store")


class RecordSource(Protocol):
    """The part of a model that knows entity records."""

    @property
    def entity_count(self) -> int:
        """Entities of the catalogue."""
        ...

    def record(self, entity_id: str) -> bytes | None:
        """The record that was computed when the model was made."""
        ...

    def compute_records(self, entity_ids: Sequence[str]) -> list[bytes | None]:
        """Records by the entity tower; None = not in the catalogue."""
        ...


@dataclass(slots=True)
class Gathered:
    """Records by id; an id without one is not in the catalogue."""

    records: dict[str, bytes] = field(default_factory=dict)
    degraded: bool = False


class EntityStore:
    """The tiers in their order. A Redis that fails costs up to its timeout and a flag, no answer."""

    def __init__(
        self,
        source: RecordSource,
        memory: MemoryTier,
        memory_limit: int,
        redis: RedisTier | None,
        compute: ComputeThread,
        telemetry: Telemetry,
    ) -> None:
        self._source = source
        self._memory = memory
        self._redis = redis
        self._compute = compute
        self._telemetry = telemetry
        self._from_model = redis is None or source.entity_count <= memory_limit
        self._flights: dict[str, asyncio.Task[dict[str, bytes]]] = {}  # records that are being computed
        self._writes: set[asyncio.Task[None]] = set()
        self._write_failed = False

    async def gather(self, entity_ids: Iterable[str]) -> Gathered:
        """The records of all these ids, each looked up once."""
        wanted = list(dict.fromkeys(entity_ids))
        gathered = Gathered(await self._memory.get(wanted))
        self._count("memory", len(gathered.records))
        if missing := _missing(wanted, gathered):
            await self._beyond_memory(missing, gathered)
        self._count("none", len(wanted) - len(gathered.records))
        return gathered

    async def _beyond_memory(self, missing: list[str], gathered: Gathered) -> None:
        fresh: dict[str, bytes] = {}
        if self._from_model:
            fresh.update(self._precomputed(missing))
        missing = [entity_id for entity_id in missing if entity_id not in fresh]
        if missing and self._redis is not None:
            fresh.update(await self._from_redis(self._redis, missing, gathered))
        missing = [entity_id for entity_id in missing if entity_id not in fresh]
        if missing:
            fresh.update(await self._computed(missing, gathered))
        gathered.records.update(fresh)
        await self._memory.put(fresh)

    def _precomputed(self, entity_ids: list[str]) -> dict[str, bytes]:
        found = _present(entity_ids, [self._source.record(entity_id) for entity_id in entity_ids])
        self._count("model", len(found))
        return found

    async def _from_redis(self, redis: RedisTier, entity_ids: list[str], gathered: Gathered) -> dict[str, bytes]:
        try:
            found = await redis.get(entity_ids)
        except TierError as error:
            _log.debug("%s", error)
            gathered.degraded = True
            found = error.found
        self._count("redis", len(found))
        return found

    async def _computed(self, entity_ids: list[str], gathered: Gathered) -> dict[str, bytes]:
        """Records by the entity tower; what somebody else has computed just now is waited for, not done twice."""
        flights = {entity_id: self._flights[entity_id] for entity_id in entity_ids if entity_id in self._flights}
        alone = [entity_id for entity_id in entity_ids if entity_id not in flights]
        if alone:
            flight = asyncio.create_task(self._compute_and_keep(alone))
            self._flights.update(dict.fromkeys(alone, flight))
            flights.update(dict.fromkeys(alone, flight))
        found: dict[str, bytes] = {}
        for flight in set(flights.values()):
            found.update(await asyncio.shield(flight))  # a caller who leaves does not take the others' records along
        gathered.degraded |= self._write_failed  # Redis reads but does not keep: READONLY, out of memory
        return {entity_id: found[entity_id] for entity_id in entity_ids if entity_id in found}

    async def _compute_and_keep(self, entity_ids: list[str]) -> dict[str, bytes]:
        """A flight lasts until its records are in Redis, so that nobody misses them again meanwhile."""
        kept = None
        try:
            records = await self._compute.run(lambda: self._source.compute_records(entity_ids))
            found = _present(entity_ids, records)
            self._count("computed", len(found))
            kept = self._write_behind(found)
        finally:
            if kept is None:
                self._land(entity_ids)
            else:
                kept.add_done_callback(lambda _: self._land(entity_ids))
        return found

    def _land(self, entity_ids: list[str]) -> None:
        for entity_id in entity_ids:
            del self._flights[entity_id]

    def _write_behind(self, records: Mapping[str, bytes]) -> asyncio.Task[None] | None:
        """Write records to Redis behind the answer; None = there is nothing to write, or too much under way."""
        if self._redis is None or not records or len(self._writes) >= _WRITES_UNDER_WAY:
            return None
        task = asyncio.create_task(self._write(self._redis, records))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        return task

    async def _write(self, redis: RedisTier, records: Mapping[str, bytes]) -> None:
        try:
            await redis.put(records)
            self._write_failed = False
        except TierError as error:
            _log.debug("%s", error)
            self._write_failed = True

    async def settle(self) -> None:
        """Wait for the write-backs under way."""
        await asyncio.gather(*self._writes)

    async def close(self) -> None:
        """Finish the write-backs and close the tiers."""
        await self.settle()
        if self._redis is not None:
            await self._redis.close()

    def _count(self, tier: str, number: int) -> None:
        if number:
            self._telemetry.records.labels(tier).inc(number)


def _missing(wanted: Iterable[str], gathered: Gathered) -> list[str]:
    return [entity_id for entity_id in wanted if entity_id not in gathered.records]


def _present(entity_ids: Sequence[str], records: Sequence[bytes | None]) -> dict[str, bytes]:
    pairs = zip(entity_ids, records, strict=True)
    return {entity_id: record for entity_id, record in pairs if record is not None}
