"""Gathers the records of many entities from process memory, else Redis, else computed, until a deadline.

A record is packed once and every tier returns those same bytes, so that no cache can change an order.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from app.entities.computed import ComputedRecords, Tower
from app.entities.memory import MemoryTier
from app.entities.tier import RecordBatch, Tier, TierError
from app.execution.admission import Load, Priority
from app.execution.worker_thread import WorkerThread
from app.observability.metrics import Metrics
from model.catalogue.records import NamedRecords

Rows = npt.NDArray[np.int64]
CACHE_UNAVAILABLE = "cache_unavailable"
_MAX_WRITES = 8  # write-backs that may run at once; further ones are skipped, and the next miss writes them

_log = logging.getLogger("unirank.entity_store")


class RecordSource(Tower, Protocol):
    """The part of a model that provides entity records."""

    @property
    def entity_count(self) -> int:
        """Number of entities in the catalogue."""
        ...

    def find(self, entity_ids: Sequence[str]) -> Rows:
        """Catalogue rows, -1 = not in the catalogue. [C]"""
        ...

    def records_at(self, rows: Rows) -> RecordBatch:
        """The records of these rows."""
        ...

    def unpack(self, packed: Sequence[bytes]) -> RecordBatch:
        """Unpack records from bytes."""
        ...


@dataclass(frozen=True, slots=True)
class Gathered:
    """The records that one ranking needs: those of its candidates, in their order, and those of its context."""

    candidates: RecordBatch
    unknown: list[str]  # candidates that are not in the catalogue
    context: NamedRecords[RecordBatch]
    degraded: bool = False
    late: frozenset[str] = frozenset()  # candidates that are in the catalogue, but without a record for lack of time
    hopeless: bool = False  # so many records are queued for other rankings that none of these could be computed in time


class EntityStore:
    """Gathers records: from the model's own table if process memory may hold all of it, else from tier after tier.

    If Redis fails, a request loses up to the Redis timeout and its answer is flagged as degraded. `load` counts the
    parts of records to compute; deadlines are on its clock.
    """

    def __init__(
        self,
        source: RecordSource,
        memory: MemoryTier,
        memory_limit: int,
        redis: Tier | None,
        worker: WorkerThread,
        metrics: Metrics,
        load: Load | None = None,
    ) -> None:
        self._source = source
        self._memory = memory
        self._redis = redis
        self._metrics = metrics
        self._in_table = redis is None or source.entity_count <= memory_limit
        self._load = load or Load(time.monotonic)
        self._computed = ComputedRecords(source, worker, self._load)
        self._writes: set[asyncio.Task[None]] = set()
        self._write_failed = False

    async def gather(
        self,
        candidates: Sequence[str],
        context: Sequence[str] = (),
        until: float = math.inf,
        priority: Priority = Priority.NORMAL,
    ) -> Gathered:
        """The records of distinct candidates and distinct `context` entities that can be had before `until`; each is
        looked up once. Those of the context come first: without them no candidate is scored correctly.
        """
        if self._in_table:
            return self._from_table(candidates, context)
        packed = PackedRecords()
        await self._from_tiers(list(dict.fromkeys([*context, *candidates])), packed, until, priority)
        return packed.gathered(self._source, candidates, context)

    def _from_table(self, candidates: Sequence[str], context: Sequence[str]) -> Gathered:
        rows, context_rows = self._source.find(candidates), self._source.find(context)
        missing = np.flatnonzero(rows < 0).tolist()
        self._count("memory", len(rows) - len(missing) + len(context))
        self._count("none", len(missing))
        known_rows = rows[rows >= 0] if missing else rows
        known_ids = [entity_id for entity_id, row in zip(context, context_rows.tolist(), strict=True) if row >= 0]
        return Gathered(
            self._source.records_at(known_rows), [candidates[place] for place in missing],
            NamedRecords(known_ids, self._source.records_at(context_rows[context_rows >= 0])),
        )  # fmt: skip

    async def _from_tiers(self, entity_ids: list[str], packed: PackedRecords, until: float, priority: Priority) -> None:
        packed.records.update(await self._memory.get(entity_ids))
        self._count("memory", len(packed.records))
        if missing := packed.without(entity_ids):
            loaded = await self._load_missing(missing, packed, until, priority)
            packed.records.update(loaded)
            await self._memory.put(loaded)
        if not packed.late:
            self._count("none", len(entity_ids) - len(packed.records))

    async def _load_missing(
        self, missing: list[str], packed: PackedRecords, until: float, priority: Priority
    ) -> dict[str, bytes]:
        loaded: dict[str, bytes] = {}
        if self._redis is not None:
            loaded.update(await self._from_redis(self._redis, missing, packed, until - self._load.clock()))
        missing = [entity_id for entity_id in missing if entity_id not in loaded]
        if missing:
            computed = await self._computed.get(missing, until, priority, self._write_back)
            packed.late, packed.hopeless = computed.late, computed.hopeless
            packed.degraded |= self._write_failed  # Redis can be read but not written: READONLY, out of memory
            loaded.update(computed.records)
        return loaded

    async def _from_redis(
        self, redis: Tier, entity_ids: list[str], packed: PackedRecords, within_s: float
    ) -> dict[str, bytes]:
        if within_s <= 0:
            return {}
        try:
            records = await redis.get(entity_ids, within_s)
        except TierError as error:
            _log.debug("%s", error)
            packed.degraded = True
            records = error.found
        self._count("redis", len(records))
        return records

    def _write_back(self, records: Mapping[str, bytes]) -> asyncio.Task[None] | None:
        """Write computed records to Redis in the background; None = nothing to write, or too many writes under way."""
        self._count("computed", len(records))
        if self._redis is None or not records or len(self._writes) >= _MAX_WRITES:
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
        """Wait for records that are being computed and for write-backs under way."""
        await self._computed.close()
        await asyncio.gather(*self._writes)

    async def close(self) -> None:
        """Finish the write-backs and close the tiers."""
        await self.settle()
        if self._redis is not None:
            await self._redis.close()

    def _count(self, tier: str, number: int) -> None:
        if number:
            self._metrics.records.labels(tier).inc(number)


@dataclass(slots=True)
class PackedRecords:
    """Packed records by id, collected from the tiers. Unless `late`, an id without a record is not in the catalogue."""

    records: dict[str, bytes] = field(default_factory=dict)
    degraded: bool = False
    late: bool = False
    hopeless: bool = False

    def without(self, entity_ids: Iterable[str]) -> list[str]:
        """The ids that have no record yet."""
        return [entity_id for entity_id in entity_ids if entity_id not in self.records]

    def gathered(self, source: RecordSource, candidates: Sequence[str], context: Sequence[str]) -> Gathered:
        """The unpacked records, in the requested order."""
        records = self.records
        known_ids = [entity_id for entity_id in context if entity_id in records]
        missing = self.without(candidates)
        late = _in_catalogue(source, missing) if self.late else frozenset()
        return Gathered(
            source.unpack([records[entity_id] for entity_id in candidates if entity_id in records]),
            [entity_id for entity_id in missing if entity_id not in late] if late else missing,
            NamedRecords(known_ids, source.unpack([records[entity_id] for entity_id in known_ids])),
            self.degraded, late, self.hopeless,
        )  # fmt: skip


def _in_catalogue(source: RecordSource, entity_ids: Sequence[str]) -> frozenset[str]:
    """The ids that are in the catalogue."""
    pairs = zip(entity_ids, source.find(entity_ids).tolist(), strict=True)
    return frozenset(entity_id for entity_id, row in pairs if row >= 0)
