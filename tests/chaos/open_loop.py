"""Requests at a rate of their own, whatever the service makes of them, as users do. Raw sockets: they keep up."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass(slots=True)
class Arrivals:
    """What came of the requests of an open loop. `seconds` from the moment each was due, of those answered 200;
    `in_time` of these were answered between the lead and the last request.
    """

    due: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    in_time: int = 0
    unexplained: int = 0  # refusals without Retry-After


async def arrive(
    url: str, path: str, bodies: Sequence[bytes], rate: float, lead_s: float, seconds: float, connections: int
) -> Arrivals:
    """Send `rate` requests a second for a lead, in which a queue may grow, and then for `seconds`. One that finds no
    free connection waits, and its clock runs."""
    arrivals = Arrivals()
    due: asyncio.Queue[tuple[float, bytes] | None] = asyncio.Queue()
    requests = [_request(url, path, body) for body in bodies]
    callers = [asyncio.create_task(_caller(url, due, arrivals)) for _ in range(connections)]
    await asyncio.sleep(0.5)  # all are connected
    started, early = time.perf_counter(), 0
    for number in range(int(rate * (lead_s + seconds))):
        moment = started + number / rate
        if (ahead := moment - time.perf_counter()) > 0:
            await asyncio.sleep(ahead)
        due.put_nowait((moment, requests[number % len(requests)]))
        arrivals.due += 1
        if moment < started + lead_s:
            early = len(arrivals.seconds)
    arrivals.in_time = len(arrivals.seconds) - early
    for _ in callers:
        due.put_nowait(None)
    await asyncio.gather(*callers)
    return arrivals


async def _caller(url: str, due: asyncio.Queue[tuple[float, bytes] | None], arrivals: Arrivals) -> None:
    target = urlsplit(url)
    reader, writer = await asyncio.open_connection(target.hostname, target.port)
    while (asked := await due.get()) is not None:
        moment, request = asked
        writer.write(request)
        status, head = await answered(reader)
        arrivals.statuses[status] += 1
        if status == 200:
            arrivals.seconds.append(time.perf_counter() - moment)
        elif b"retry-after" not in head.lower():
            arrivals.unexplained += 1
    writer.close()


async def answered(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Status and head of one answer whose length is stated; its body is read and dropped."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.lower().splitlines() if line.startswith(b"content-length:"))
    await reader.readexactly(length)
    return int(head.split(b" ", 2)[1]), head


def _request(url: str, path: str, body: bytes) -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    )
