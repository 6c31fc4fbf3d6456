"""The last tier of entity records: computed by the entity tower, in parts, for as long as there is time.

A part is what the compute thread does at once, so that other work waits for one part and not for a whole ranking. What
several rankings miss at once is computed once; a part that nobody waits for any more is not begun. Holds no record.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from app.execution.admission import Load, Priority
from app.execution.worker_thread import WorkerThread

PART = 16  # records at once: about 6 ms of a tower, of which 2 are the price of a part and not of its records

Records = dict[str, bytes]
Keep = Callable[[Mapping[str, bytes]], asyncio.Task[None] | None]


class Tower(Protocol):
    """The part of a model that makes records."""

    def compute_records(self, entity_ids: Sequence[str]) -> list[bytes | None]:
        """Records by the entity tower; None = not in the catalogue."""
        ...


@dataclass(slots=True)
class ComputedBatch:
    """Records by id. `late`: there was no time to try all; `hopeless`: so little that none was tried."""

    records: Records = field(default_factory=dict)
    late: bool = False
    hopeless: bool = False


@dataclass(eq=False, slots=True)
class _Part:
    """Records that are being computed, by `task`, for so many who wait."""

    entity_ids: list[str]
    waiting: int = 0
    begun: bool = False
    task: asyncio.Task[Records] | None = None


Make = Callable[[_Part], Coroutine[Any, Any, Records]]


class ComputedRecords:
    """Computes records in the compute thread; `load` knows what is to do there."""

    def __init__(self, tower: Tower, worker: WorkerThread, load: Load) -> None:
        self._tower = tower
        self._worker = worker
        self._load = load
        self._parts: dict[str, _Part] = {}  # by the ids of their records
        self._counted: set[str] = set()  # ids whose parts are in `load`
        self._tasks: set[asyncio.Task[Records]] = set()

    async def get(self, entity_ids: Sequence[str], until: float, priority: Priority, keep: Keep) -> ComputedBatch:
        """Records as far as there is time `until` a moment on the clock of `load`.

        `keep` is given what was computed, and a part lasts until that is kept: nobody misses its records meanwhile.
        """
        left_s = until - self._load.clock()
        if left_s <= 0:
            return ComputedBatch(late=True)
        fresh = [entity_id for entity_id in entity_ids if entity_id not in self._counted]
        if fresh and self._load.wait_s(priority) > left_s:
            return ComputedBatch(late=True, hopeless=True)
        with self._counts(fresh, priority) as ended:
            return await self._in_parts(entity_ids, until, partial(self._made, priority=priority, keep=keep), ended)

    async def close(self) -> None:
        """Wait for the parts under way."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @contextmanager
    def _counts(self, fresh: Collection[str], priority: Priority) -> Iterator[Callable[[], None]]:
        """Count parts as under way, until each has ended. What two rankings want is counted once."""
        left = math.ceil(len(fresh) / PART)
        self._counted.update(fresh)
        self._load.move(priority, left)

        def ended() -> None:
            nonlocal left
            if left:
                left -= 1
                self._load.move(priority, -1)

        try:
            yield ended
        finally:
            self._counted.difference_update(fresh)
            self._load.move(priority, -left)

    async def _in_parts(
        self, entity_ids: Sequence[str], until: float, make: Make, ended: Callable[[], None]
    ) -> ComputedBatch:
        done = ComputedBatch()
        for start in range(0, len(entity_ids), PART):
            wanted = entity_ids[start : start + PART]
            records, done.late = await self._landed(self._under_way(wanted, make), until)
            done.records.update({entity_id: records[entity_id] for entity_id in wanted if entity_id in records})
            ended()
            if done.late or (start + PART < len(entity_ids) and self._load.clock() >= until):
                done.late = True
                break
        return done

    def _under_way(self, wanted: Sequence[str], make: Make) -> set[_Part]:
        """The parts that make these records: those of others, and one more for what nobody makes yet."""
        alone = [entity_id for entity_id in wanted if entity_id not in self._parts]
        if alone:
            part = _Part(alone)
            part.task = asyncio.create_task(make(part))
            self._tasks.add(part.task)
            part.task.add_done_callback(self._ended)
            self._parts.update(dict.fromkeys(alone, part))
        return {self._parts[entity_id] for entity_id in wanted}

    async def _landed(self, parts: Iterable[_Part], until: float) -> tuple[Records, bool]:
        """What these parts have made when the time is over, and whether one of them has not ended."""
        tasks = {part.task for part in parts if part.task is not None}
        left_s = until - self._load.clock()
        with _waited_for(parts, self._drop):
            done, late = await asyncio.wait(tasks, timeout=None if math.isinf(left_s) else max(0.0, left_s))
        records: Records = {}
        for task in done:
            records.update(task.result())
        return records, bool(late)

    def _drop(self, part: _Part) -> None:
        """Nobody waits for it: what has not begun is not done. What has begun is kept for the next who asks."""
        if part.task is not None and not part.begun and not part.task.done():
            self._forget(part)
            part.task.cancel()

    async def _made(self, part: _Part, priority: Priority, keep: Keep) -> Records:
        kept = None
        try:
            computed = await self._worker.run(partial(self._work, part), priority)
            records = _present(part.entity_ids, computed)
            kept = keep(records)
        finally:
            if kept is None:
                self._forget(part)
            else:
                kept.add_done_callback(lambda _: self._forget(part))
        return records

    def _work(self, part: _Part) -> list[bytes | None]:
        """In the compute thread. Only whole parts are measured: small ones would tell too little of a part."""
        part.begun = True
        work = partial(self._tower.compute_records, part.entity_ids)
        return self._load.timed(work) if len(part.entity_ids) == PART else work()

    def _forget(self, part: _Part) -> None:
        for entity_id in part.entity_ids:
            if self._parts.get(entity_id) is part:
                del self._parts[entity_id]

    def _ended(self, task: asyncio.Task[Records]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # those who still wait raise it; without any it is no news


@contextmanager
def _waited_for(parts: Iterable[_Part], drop: Callable[[_Part], None]) -> Iterator[None]:
    for part in parts:
        part.waiting += 1
    try:
        yield
    finally:
        for part in parts:
            part.waiting -= 1
            if not part.waiting:
                drop(part)


def _present(entity_ids: Sequence[str], records: Sequence[bytes | None]) -> Records:
    pairs = zip(entity_ids, records, strict=True)
    return {entity_id: record for entity_id, record in pairs if record is not None}
