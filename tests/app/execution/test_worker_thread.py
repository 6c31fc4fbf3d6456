"""The worker thread finishes what it has begun when it closes, and cancels what waits."""

from __future__ import annotations

import asyncio
import time

import pytest

from app.execution.worker_thread import WorkerThread

pytestmark = pytest.mark.anyio


async def test_closing_finishes_what_runs_and_cancels_what_waits():
    compute, ran = WorkerThread(), []
    first = asyncio.create_task(compute.run(lambda: time.sleep(0.1) or ran.append("first")))
    await asyncio.sleep(0.02)
    second = asyncio.create_task(compute.run(lambda: ran.append("second")))
    await asyncio.sleep(0)
    await asyncio.to_thread(compute.close)
    await asyncio.gather(first, second, return_exceptions=True)
    assert ran == ["first"]
    assert second.cancelled()
    with pytest.raises(RuntimeError, match="closed"):
        await compute.run(lambda: None)
