"""The larder: records of many entities in one gather, from process memory, else Redis, else computed.

A record is packed once and every tier hands out those same bytes, so that no cache can change an order.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from app.compute_thread import ComputeThread
from app.entity_store.memory import MemoryTier
from app.entity_store.tier import Tier, TierError
from app.scoring import Held
from app.telemetry import Telemetry

Rows = npt.NDArray[np.int64]
CACHE_UNAVAILABLE = "cache_unavailable"
_WRITES_UNDER_WAY = 8  # write-backs that may run at once; further ones are left out: the next miss brings them

_log = logging.getLogger("unirank.entity_store")


class RecordSource(Protocol):
    """The part of a model that knows entity records."""

    @property
    def entity_count(self) -> int:
        """Entities of the catalogue."""
        ...

    def find(self, entity_ids: Sequence[str]) -> Rows:
        """Rows of the catalogue, -1 = not in it. [C]"""
        ...

    def take(self, rows: Rows) -> Held:
        """The records of these rows."""
        ...

    def unpack(self, packed: Sequence[bytes]) -> Held:
        """Records from their bytes."""
        ...

    def compute_records(self, entity_ids: Sequence[str]) -> list[bytes | None]:
        """Records by the entity tower; None = not in the catalogue."""
        ...


@dataclass(frozen=True, slots=True)
class Gathered:
    """The records that one ranking needs: of its candidates, in their order, and of what stands at their side."""

    candidates: Held
    unknown: list[str]  # candidates that are not in the catalogue
    side: Held
    side_ids: list[str]
    degraded: bool = False


class EntityStore:
    """Where records come from: the model's own table where process memory may hold it all, else tier after tier.

    A Redis that fails costs up to its timeout and a flag, no answer.
    """

    def __init__(
        self,
        source: RecordSource,
        memory: MemoryTier,
        memory_limit: int,
        redis: Tier | None,
        compute: ComputeThread,
        telemetry: Telemetry,
    ) -> None:
        self._source = source
        self._memory = memory
        self._redis = redis
        self._compute = compute
        self._telemetry = telemetry
        self._whole = redis is None or source.entity_count <= memory_limit
        self._flights: dict[str, asyncio.Task[dict[str, bytes]]] = {}  # records that are being computed
        self._writes: set[asyncio.Task[None]] = set()
        self._write_failed = False

    async def gather(self, candidates: Sequence[str], side: Sequence[str] = ()) -> Gathered:
        """The records of distinct candidates, and of distinct entities at their side; each is looked up once."""
        if self._whole:
            return self._from_table(candidates, side)
        packed = Packed()
        await self._through_tiers(list(dict.fromkeys([*candidates, *side])), packed)
        return packed.gathered(self._source, candidates, side)

    def _from_table(self, candidates: Sequence[str], side: Sequence[str]) -> Gathered:
        rows, side_rows = self._source.find(candidates), self._source.find(side)
        missing = np.flatnonzero(rows < 0).tolist()
        self._count("memory", len(rows) - len(missing) + len(side))
        self._count("none", len(missing))
        known = rows[rows >= 0] if missing else rows
        side_ids = [entity_id for entity_id, row in zip(side, side_rows.tolist(), strict=True) if row >= 0]
        return Gathered(
            self._source.take(known), [candidates[place] for place in missing],
            self._source.take(side_rows[side_rows >= 0]), side_ids,
        )  # fmt: skip

    async def _through_tiers(self, wanted: list[str], packed: Packed) -> None:
        packed.records.update(await self._memory.get(wanted))
        self._count("memory", len(packed.records))
        if missing := packed.without(wanted):
            fresh = await self._beyond_memory(missing, packed)
            packed.records.update(fresh)
            await self._memory.put(fresh)
        self._count("none", len(wanted) - len(packed.records))

    async def _beyond_memory(self, missing: list[str], packed: Packed) -> dict[str, bytes]:
        fresh: dict[str, bytes] = {}
        if self._redis is not None:
            fresh.update(await self._from_redis(self._redis, missing, packed))
        missing = [entity_id for entity_id in missing if entity_id not in fresh]
        if missing:
            fresh.update(await self._computed(missing, packed))
        return fresh

    async def _from_redis(self, redis: Tier, entity_ids: list[str], packed: Packed) -> dict[str, bytes]:
        try:
            found = await redis.get(entity_ids)
        except TierError as error:
            _log.debug("%s", error)
            packed.degraded = True
            found = error.found
        self._count("redis", len(found))
        return found

    async def _computed(self, entity_ids: list[str], packed: Packed) -> dict[str, bytes]:
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
        packed.degraded |= self._write_failed  # Redis reads but does not keep: READONLY, out of memory
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

    async def _write(self, redis: Tier, records: Mapping[str, bytes]) -> None:
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


@dataclass(slots=True)
class Packed:
    """Records by id as bytes, on their way through the tiers; an id without one is not in the catalogue."""

    records: dict[str, bytes] = field(default_factory=dict)
    degraded: bool = False

    def without(self, wanted: Iterable[str]) -> list[str]:
        """The ids that have no record yet."""
        return [entity_id for entity_id in wanted if entity_id not in self.records]

    def gathered(self, source: RecordSource, candidates: Sequence[str], side: Sequence[str]) -> Gathered:
        """Unpacked, in the order asked for."""
        records = self.records
        side_ids = [entity_id for entity_id in side if entity_id in records]
        return Gathered(
            source.unpack([records[entity_id] for entity_id in candidates if entity_id in records]),
            self.without(candidates), source.unpack([records[entity_id] for entity_id in side_ids]), side_ids,
            self.degraded,
        )  # fmt: skip


def _present(entity_ids: Sequence[str], records: Sequence[bytes | None]) -> dict[str, bytes]:
    pairs = zip(entity_ids, records, strict=True)
    return {entity_id: record for entity_id, record in pairs if record is not None}
