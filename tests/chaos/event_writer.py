"""Appends events until it is killed; prints each that was acknowledged. Run as a script: folder, name.

With a number as well, it stops after so many behind a disk that was full: it waits for the file `filled` beside the
disk, makes `refused` when it was refused often, waits for `emptied`, and goes on.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from app.errors import EventsUnavailableError
from app.events.log import EventLog

REFUSALS = 100


async def one(log: EventLog, name: str) -> None:
    for number in range(1_000_000):
        await log.append([f"{name} {number}".encode()])
        print(name, number, flush=True)


async def main(folder: str, life: str) -> None:
    log = EventLog(Path(folder), segment_bytes=20_000)
    await asyncio.gather(*(one(log, f"{life}-{caller}") for caller in range(4)))


async def through_a_full_disk(folder: str, life: str, count: str) -> None:
    log, beside = EventLog(Path(folder)), Path(folder).parents[1]
    refused = 0
    for number in range(1_000_000):
        event = f"{life} {number} {'x' * 500}"
        try:
            await log.append([event.encode()])
            print(event, flush=True)
        except EventsUnavailableError:
            print("refused", flush=True)
            refused += 1
        (beside / "first").write_text("some were written")
        if refused == REFUSALS:
            (beside / "refused").touch()
            await _until(beside / "emptied")
        elif number > 20 and not refused:
            await _until(beside / "filled")
        if (beside / "emptied").exists() and number > int(count):
            break
    await asyncio.to_thread(log.close)


async def _until(file: Path) -> None:
    while not file.exists():
        await asyncio.sleep(0.01)


asyncio.run((main if len(sys.argv) == 3 else through_a_full_disk)(*sys.argv[1:]))
