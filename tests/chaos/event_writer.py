"""Appends events until it is killed; prints each that was acknowledged. Run as a script: folder, name."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from app.event_log.log import EventLog


async def one(log: EventLog, name: str) -> None:
    for number in range(1_000_000):
        await log.append([f"{name} {number}".encode()])
        print(name, number, flush=True)


async def main(folder: str, life: str) -> None:
    log = EventLog(Path(folder), segment_bytes=20_000)
    await asyncio.gather(*(one(log, f"{life}-{caller}") for caller in range(4)))


asyncio.run(main(*sys.argv[1:]))
