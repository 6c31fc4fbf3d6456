"""Every way that Redis can fail, under load: through a proxy that misbehaves, and a real server killed and stopped."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, nullcontext
from pathlib import Path

from redis_server import real_redis
from server_process import served

from chaos.load import load
from chaos.proxy import FaultProxy
from chaos.rows import Row, SameOrder, Step, asks_of, three_phases

PROXIED = ("refused", "reset", "silent", "dripping", "garbage", "loading", "readonly", "out of memory")
KILLED, STOPPED = "killed", "stopped"
NO_WRITES = (
    "readonly",
    "out of memory",
)  # reads go on: the server is emptied first, so that there are writes
FAULTS = (*PROXIED, KILLED, STOPPED)
RECOVERS_S = 2.5  # the breaker tries again after one second, and write-backs follow
DEADLINE_MS = 2_000.0
RECOVERED = 0.05  # of the answers after: a timeout of 50 ms may be missed on a busy machine
LOOKS = 4


async def redis_rows(model: Path, work: Path, seconds: float, faults: Sequence[str] = FAULTS) -> AsyncIterator[Row]:
    """A row a fault. Every ranking reads Redis: process memory holds no record."""
    with ExitStack() as stack:
        server = Server(stack)
        proxy = FaultProxy(server.port)
        await proxy.start()
        settings = {"redis_url": f"redis://127.0.0.1:{proxy.port}", "memory_entities": 0, "state_dir": work}
        try:
            async with service(model, work / "redis.log", **settings) as url:
                for fault in faults:
                    yield await _row(url, fault, seconds, *_steps(proxy, server, fault))
        finally:
            await proxy.close()


class Server:
    """A real server that can be killed, started again on its port, stopped and let go on."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._running = stack.enter_context(real_redis())
        self.port = self._running.port

    async def kill(self) -> None:
        self._running._process.kill()
        self._running._process.wait()

    async def start(self) -> None:
        self._running = self._stack.enter_context(real_redis(self.port))

    def empty(self) -> None:
        with self._running.client() as client:
            client.flushall()

    async def stop(self) -> None:
        self._running._process.send_signal(signal.SIGSTOP)

    async def go_on(self) -> None:
        self._running._process.send_signal(signal.SIGCONT)


def _steps(proxy: FaultProxy, server: Server, fault: str) -> tuple[Step, Step]:
    """How the fault begins and ends."""
    if fault == KILLED:
        return server.kill, server.start
    if fault == STOPPED:
        return server.stop, server.go_on

    async def break_it() -> None:
        await proxy.break_(fault)
        if fault in NO_WRITES:
            server.empty()

    return break_it, proxy.heal


async def _row(url: str, fault: str, seconds: float, break_it: Step, heal: Step) -> Row:
    asks = await asks_of(url)
    verdict = await SameOrder.of(url, asks)
    async with load(url, asks, verdict) as loaded:
        before, during, after = await three_phases(loaded, seconds, break_it, heal, RECOVERS_S)
        flagged = verdict.flags["cache_unavailable"]
        for _ in range(LOOKS):  # on a busy machine a healthy Redis is late, too, now and then
            verdict.flags.clear()
            await asyncio.sleep(min(seconds, 1.0))
            last = loaded.turn()
            if recovered := last.sent > 0 and verdict.flags.total() < RECOVERED * last.sent:
                break
    row = Row(
        f"Redis {fault}", before, during, after, note=f"{flagged} flagged, {verdict.flags.total()} of {last.sent} after"
    )
    row.promises = {
        "no ranking fails, same order": not row.failed,
        "flagged": flagged > 0,
        "p99 within the deadline": during.quantile_ms(0.99) < DEADLINE_MS,
        "recovers by itself": recovered,
    }
    return row


@asynccontextmanager
async def service(model: Path, log: Path, apart: bool = False, **settings: object) -> AsyncIterator[str]:
    """A service whose start and end do not block the loop: the proxy runs in it.

    `apart`: it gets a core of its own and the caller the others, so that a load does not slow what it loads.
    """
    context = served(model, log, **settings)
    process, url = await asyncio.to_thread(context.__enter__)
    try:
        with _apart(process.pid) if apart else nullcontext():
            yield url
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)


@contextmanager
def _apart(pid: int) -> Iterator[None]:
    """Where there are two cores and a way to say so; threads that come later inherit from those that are there."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) < 2:
        yield
        return
    for thread in os.listdir(f"/proc/{pid}/task"):
        os.sched_setaffinity(int(thread), cores[:1])
    os.sched_setaffinity(0, cores[1:])
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)
