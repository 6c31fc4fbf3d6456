"""Generates load: in a closed loop, whose callers wait for their answers, or in an open loop, whose requests arrive
at given times whatever the server does. Knows sockets and times, no servers and no models.

In the open loop, latency is measured from the time a request was due, so that waiting for a slow server is included
(no "coordinated omission"). Gaps between requests are exponential, like those of independent users.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, deque
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any, TypeVar

import numpy as np
import uvloop

from bench.wire import Wire, connect, request_bytes

OK = 200
CONNECTIONS = 64  # of an open loop; further requests wait in the generator, which counts as latency
PATIENCE_S = 5.0  # after the last request of a loop; requests without an answer then count with the time waited so far
_SPIN_S = 0.0015  # event loop timers have a resolution of 1 ms: the rest is spent polling the clock

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Target:
    """The URL and path of a server, and the bodies to send."""

    url: str
    path: str
    bodies: Sequence[bytes]

    def requests(self) -> Iterator[bytes]:
        """An endless cycle of the requests."""
        return cycle([request_bytes(self.url, self.path, body) for body in self.bodies])


@dataclass(slots=True)
class Tally:
    """The outcome of a loop. `seconds`: latencies of answers with status 200 and of requests never answered."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    unanswered: int = 0
    elapsed: float = 0.0
    load_cpu_s: float = 0.0

    def add(self, status: int, seconds: float) -> None:
        """Count one answer."""
        self.statuses[status] += 1
        if status == OK:
            self.seconds.append(seconds)

    def figures(self) -> dict[str, Any]:
        """Requests per second, percentiles in milliseconds, statuses, and the CPU share of the generator."""
        elapsed = max(self.elapsed, 1e-9)
        return {
            "per_s": self.statuses[OK] / elapsed,
            **percentiles(self.seconds),
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "unanswered": self.unanswered,
            "seconds": self.elapsed,
            "load_cpu_share": self.load_cpu_s / elapsed,
        }


def percentiles(seconds: Sequence[float]) -> dict[str, float | None]:
    """p50, p90, p99 and mean in milliseconds; None if there are no values."""
    names = ("p50_ms", "p90_ms", "p99_ms", "mean_ms")
    if not len(seconds):
        return dict.fromkeys(names)
    values = [*np.quantile(seconds, (0.5, 0.9, 0.99)), np.mean(seconds)]
    return {name: float(value) * 1000 for name, value in zip(names, values, strict=True)}


def closed_loop(target: Target, connections: int, seconds: float) -> Tally:
    """Each of `connections` callers sends its next request as soon as it has an answer."""
    return _run(_run_closed(target, connections, seconds))


def open_loop(target: Target, rate: float, seconds: float, seed: int = 0, connections: int = CONNECTIONS) -> Tally:
    """`rate` requests per second on average, at times that follow from the seed."""
    return _run(_run_open(target, rate, seconds, seed, connections))


def _run(work: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


async def _run_closed(target: Target, connections: int, seconds: float) -> Tally:
    tally, requests = Tally(), target.requests()
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    waiting = connections

    def ask(wire: Wire) -> None:
        wire.due = time.perf_counter()
        wire.ask(next(requests))

    def answered(wire: Wire, status: int) -> None:
        nonlocal waiting
        now = time.perf_counter()
        tally.add(status, now - wire.due)
        if now < end and status:
            ask(wire)
            return
        waiting -= 1
        if not waiting and not done.done():
            done.set_result(None)

    wires = await connect(target.url, connections, answered)
    started, cpu = time.perf_counter(), time.process_time()
    end = started + seconds
    for wire in wires:
        ask(wire)
    await asyncio.wait([done], timeout=seconds + PATIENCE_S)
    tally.elapsed, tally.load_cpu_s = time.perf_counter() - started, time.process_time() - cpu
    tally.unanswered = waiting
    _close_all(wires)
    return tally


async def _run_open(target: Target, rate: float, seconds: float, seed: int, connections: int) -> Tally:
    tally, requests = Tally(), target.requests()
    overdue: deque[float] = deque()
    busy: set[Wire] = set()

    def ask(wire: Wire, due: float) -> None:
        wire.due = due
        busy.add(wire)
        wire.ask(next(requests))

    def answered(wire: Wire, status: int) -> None:
        tally.add(status, time.perf_counter() - wire.due)
        busy.discard(wire)
        if overdue and status:
            ask(wire, overdue.popleft())
        elif status:
            free.append(wire)

    wires = await connect(target.url, connections, answered)
    free = deque(wires)
    started, cpu = time.perf_counter(), time.process_time()
    for due in moments(rate, seconds, seed):
        await _sleep_until(started + due)
        if free:
            ask(free.popleft(), started + due)
        else:
            overdue.append(started + due)
    await _drain(busy, overdue)
    tally.elapsed, tally.load_cpu_s = time.perf_counter() - started, time.process_time() - cpu
    waited = [time.perf_counter() - due for due in [*(wire.due for wire in busy), *overdue]]
    tally.unanswered = len(waited)
    tally.seconds.extend(waited)
    _close_all(wires)
    return tally


def moments(rate: float, seconds: float, seed: int) -> Iterator[float]:
    """Seconds from the start at which requests are due. All rates scale the same pattern."""
    rng, due = random.Random(seed), 0.0
    while (due := due + rng.expovariate(rate)) < seconds:
        yield due


async def _sleep_until(moment: float) -> None:
    while (ahead := moment - time.perf_counter()) > 0:
        await asyncio.sleep(ahead - _SPIN_S if ahead > 2 * _SPIN_S else 0)


async def _drain(busy: set[Wire], overdue: deque[float]) -> None:
    """Wait until all requests are answered, at most `PATIENCE_S`."""
    end = time.perf_counter() + PATIENCE_S
    while (busy or overdue) and time.perf_counter() < end:
        await asyncio.sleep(0.001)


def _close_all(wires: Sequence[Wire]) -> None:
    for wire in wires:
        wire.close()
