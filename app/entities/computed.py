"""The last tier of entity records: computes them with the entity tower, in parts, until a deadline.

A part is one job of the worker thread, so that other work waits for one part and not for all records of a ranking. A
record that several rankings miss at the same time is computed once; a part that no ranking waits for any more is not
started. Holds no record.
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

PART = 16  # records in a part: about 6 ms of a tower, of which 2 are the fixed cost of a part

Records = dict[str, bytes]
Keep = Callable[[Mapping[str, bytes]], asyncio.Task[None] | None]


class Tower(Protocol):
    """The part of a model that makes records."""

    def compute_records(self, entity_ids: Sequence[str]) -> list[bytes | None]:
        """Records by the entity tower; None = not in the catalogue."""
        ...


@dataclass(slots=True)
class ComputedBatch:
    """Records by id. `late`: there was no time to try all; `hopeless`: so little time that none was tried."""

    records: Records = field(default_factory=dict)
    late: bool = False
    hopeless: bool = False


@dataclass(eq=False, slots=True)
class _Part:
    """Records that `task` computes; `waiting`: how many rankings wait for it."""

    entity_ids: list[str]
    waiting: int = 0
    started: bool = False
    task: asyncio.Task[Records] | None = None


Make = Callable[[_Part], Coroutine[Any, Any, Records]]


class ComputedRecords:
    """Computes records in the worker thread; `load` counts the parts under way there."""

    def __init__(self, tower: Tower, worker: WorkerThread, load: Load) -> None:
        self._tower = tower
        self._worker = worker
        self._load = load
        self._parts: dict[str, _Part] = {}  # by entity id
        self._counted: set[str] = set()  # entity ids whose parts `load` counts
        self._tasks: set[asyncio.Task[Records]] = set()

    async def get(self, entity_ids: Sequence[str], until: float, priority: Priority, keep: Keep) -> ComputedBatch:
        """Records that can be computed before `until`, a time on the clock of `load`.

        `keep` is called with the computed records. A part stays registered until they are kept, so that no other
        ranking computes them again in the meantime.
        """
        remaining_s = until - self._load.clock()
        if remaining_s <= 0:
            return ComputedBatch(late=True)
        fresh = [entity_id for entity_id in entity_ids if entity_id not in self._counted]
        if fresh and self._load.wait_s(priority) > remaining_s:
            return ComputedBatch(late=True, hopeless=True)
        with self._count_parts(fresh, priority) as part_ended:
            return await self._compute_in_parts(
                entity_ids, until, partial(self._compute_part, priority=priority, keep=keep), part_ended
            )

    async def close(self) -> None:
        """Wait for the parts under way."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @contextmanager
    def _count_parts(self, fresh: Collection[str], priority: Priority) -> Iterator[Callable[[], None]]:
        """Count parts as under way until each has ended. Records that two rankings need are counted once."""
        remaining = math.ceil(len(fresh) / PART)
        self._counted.update(fresh)
        self._load.move(priority, remaining)

        def part_ended() -> None:
            nonlocal remaining
            if remaining:
                remaining -= 1
                self._load.move(priority, -1)

        try:
            yield part_ended
        finally:
            self._counted.difference_update(fresh)
            self._load.move(priority, -remaining)

    async def _compute_in_parts(
        self, entity_ids: Sequence[str], until: float, compute_part: Make, part_ended: Callable[[], None]
    ) -> ComputedBatch:
        batch = ComputedBatch()
        for start in range(0, len(entity_ids), PART):
            part_ids = entity_ids[start : start + PART]
            records, batch.late = await self._wait_for_parts(self._parts_for(part_ids, compute_part), until)
            batch.records.update({entity_id: records[entity_id] for entity_id in part_ids if entity_id in records})
            part_ended()
            if batch.late or (start + PART < len(entity_ids) and self._load.clock() >= until):
                batch.late = True
                break
        return batch

    def _parts_for(self, entity_ids: Sequence[str], compute_part: Make) -> set[_Part]:
        """The parts that compute these records: existing ones, and a new one for records that are in none."""
        missing = [entity_id for entity_id in entity_ids if entity_id not in self._parts]
        if missing:
            part = _Part(missing)
            part.task = asyncio.create_task(compute_part(part))
            self._tasks.add(part.task)
            part.task.add_done_callback(self._task_ended)
            self._parts.update(dict.fromkeys(missing, part))
        return {self._parts[entity_id] for entity_id in entity_ids}

    async def _wait_for_parts(self, parts: Iterable[_Part], until: float) -> tuple[Records, bool]:
        """The records of the parts that ended before `until`, and whether some part did not."""
        tasks = {part.task for part in parts if part.task is not None}
        remaining_s = until - self._load.clock()
        with _count_waiters(parts, self._cancel_unstarted):
            done, late = await asyncio.wait(tasks, timeout=None if math.isinf(remaining_s) else max(0.0, remaining_s))
        records: Records = {}
        for task in done:
            records.update(task.result())
        return records, bool(late)

    def _cancel_unstarted(self, part: _Part) -> None:
        """Cancel a part that no ranking waits for, unless it has started: its records may still be of use."""
        if part.task is not None and not part.started and not part.task.done():
            self._forget(part)
            part.task.cancel()

    async def _compute_part(self, part: _Part, priority: Priority, keep: Keep) -> Records:
        kept = None
        try:
            computed = await self._worker.run(partial(self._run_tower, part), priority)
            records = _drop_missing(part.entity_ids, computed)
            kept = keep(records)
        finally:
            if kept is None:
                self._forget(part)
            else:
                kept.add_done_callback(lambda _: self._forget(part))
        return records

    def _run_tower(self, part: _Part) -> list[bytes | None]:
        """Runs in the worker thread. Only full parts are measured: the time of a smaller one would be too short."""
        part.started = True
        work = partial(self._tower.compute_records, part.entity_ids)
        return self._load.timed(work) if len(part.entity_ids) == PART else work()

    def _forget(self, part: _Part) -> None:
        for entity_id in part.entity_ids:
            if self._parts.get(entity_id) is part:
                del self._parts[entity_id]

    def _task_ended(self, task: asyncio.Task[Records]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # marks it as retrieved: rankings that still wait for the task raise it themselves


@contextmanager
def _count_waiters(parts: Iterable[_Part], on_unused: Callable[[_Part], None]) -> Iterator[None]:
    for part in parts:
        part.waiting += 1
    try:
        yield
    finally:
        for part in parts:
            part.waiting -= 1
            if not part.waiting:
                on_unused(part)


def _drop_missing(entity_ids: Sequence[str], records: Sequence[bytes | None]) -> Records:
    pairs = zip(entity_ids, records, strict=True)
    return {entity_id: record for entity_id, record in pairs if record is not None}
