"""The scheduler runs the most urgent work first, starves nobody, drops what is late, and leaves the event loop
responsive.
"""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest

from app.execution.admission import Priority
from app.execution.scheduler import Scheduler

pytestmark = pytest.mark.anyio


async def test_the_event_loop_stays_responsive_between_turns():
    scheduler, waits = Scheduler(), []

    async def look() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0)
            waits.append(time.perf_counter() - began)

    looking = asyncio.create_task(look())
    await asyncio.gather(*(scheduler.run(lambda: time.sleep(0.001), 10) for _ in range(50)))
    looking.cancel()
    assert len(waits) >= 10, "fifty milliseconds of work are many turns"
    assert np.median(waits) < 0.02


async def test_work_that_cannot_begin_before_its_deadline_is_not_run():
    scheduler, done = Scheduler(), []
    work = [scheduler.run(lambda: time.sleep(0.03), 10) for _ in range(3)]
    *_, late = await asyncio.gather(*work, scheduler.run(lambda: done.append("late"), 0.02))
    assert (late, done) == (None, [])
    assert await scheduler.run(lambda: "on time", 0.02) == "on time"


async def test_the_most_urgent_goes_first_and_nobody_starves():
    scheduler, done = Scheduler(), []

    async def one(name: str, priority: Priority, after_s: float = 0.0) -> None:
        await asyncio.sleep(after_s)
        await scheduler.run(lambda: time.sleep(0.02) or done.append(name), 10, priority)

    high = [one(f"high {number}", Priority.HIGH) for number in range(3)]
    await asyncio.gather(one("low", Priority.LOW), *high, one("much later", Priority.HIGH, 0.05))
    assert done == ["high 0", "high 1", "high 2", "low", "much later"]


async def test_an_error_reaches_only_the_caller_whose_work_failed():
    scheduler = Scheduler()
    bad, good = await asyncio.gather(
        scheduler.run(lambda: 1 // 0, 1), scheduler.run(lambda: 1, 1), return_exceptions=True
    )
    assert (type(bad), good) == (ZeroDivisionError, 1)
