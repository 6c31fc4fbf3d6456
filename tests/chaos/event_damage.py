"""The event log under damage: bits flipped at random places, and a disk that fills up and is emptied again."""

from __future__ import annotations

import asyncio
import random
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

from server_process import ROOT

from app.events.export import export
from app.events.frames import Frame, scan
from app.events.log import EventLog
from app.events.reading import Damage
from app.events.segments import segments
from chaos.load import Phase
from chaos.rows import Row

EVENTS = 200
WRITER = ROOT / "tests" / "chaos" / "event_writer.py"
# A small file system of its own, in a namespace of its own; 'full' is written when it was filled, and taken away then.
FILLS_UP = """
mount -t tmpfs -o size=512k tmpfs "$1" || exit 77
"$2" "$3" "$1/events" full 400 &
writer=$!
while [ ! -s "$1/../first" ] && kill -0 $writer 2>/dev/null; do sleep 0.01; done
head -c 2000000 /dev/zero > "$1/ballast" 2>/dev/null
touch "$1/../filled"
while [ ! -e "$1/../refused" ] && kill -0 $writer 2>/dev/null; do sleep 0.01; done
rm "$1/ballast"
touch "$1/../emptied"
wait $writer
code=$?
cp -r "$1/events" "$1/../kept"
exit $code
"""


async def bit_flip_row(work: Path, runs: int) -> Row:
    """One to four bits of a log of several segments, anywhere; a new life, and an export, each time. Seeded."""
    dice, whole, faults = random.Random(8), work / "whole", Counter[str]()
    await _log(whole)
    frames = {path.name: _frames(path) for path in segments(whole)}
    hit_events = 0
    for run in range(runs):
        folder = work / f"flips {run}"
        shutil.copytree(whole, folder)
        hit = _flip(folder, frames, dice, 1 + run % 4)
        hit_events += len(hit)
        faults.update(await _outcome(folder, work / f"{run}.jsonl", frames, hit))
        shutil.rmtree(folder)
    row = Row(f"flipped bits, {runs} times", Phase(), Phase(runs * EVENTS, wrong=faults), Phase())
    row.lost = f"{hit_events} of {runs * EVENTS} events, each with a bit of its own flipped"
    row.promises = {
        "nothing lost but what was hit": not faults["lost"],
        "none twice or made up": not faults["else"],
        "what was hit is reported and kept": not faults["silent"],
    }
    return row


async def _log(folder: Path) -> None:
    log = EventLog(folder, segment_bytes=6_000)
    for number in range(0, EVENTS, 5):
        await log.append([b'{"event":%d,"of":"the log"}' % (number + place) for place in range(5)])
    await asyncio.to_thread(log.close)


def _frames(path: Path) -> list[Frame]:
    return [found for found in scan(path.read_bytes()) if isinstance(found, Frame)]


def _flip(folder: Path, frames: dict[str, list[Frame]], dice: random.Random, bits: int) -> set[bytes]:
    """Flip bits, all in different bytes; the payloads of the frames that were hit."""
    places = [(name, at) for name, found in frames.items() for at in range(found[-1].end)]
    hit = set()
    for name, at in dice.sample(places, bits):
        data = bytearray((folder / name).read_bytes())
        data[at] ^= 1 << dice.randrange(8)
        (folder / name).write_bytes(data)
        hit |= {one.payload for one in frames[name] if one.start <= at < one.end}
    return hit


async def _outcome(folder: Path, out: Path, frames: dict[str, list[Frame]], hit: set[bytes]) -> list[str]:
    log = EventLog(folder)
    await log.append([b'"the next life"'])
    await asyncio.to_thread(log.close)
    reported: list[Damage] = []
    export(folder, out, report=reported.append)
    lines = out.read_bytes().splitlines()
    expected = [one.payload for found in frames.values() for one in found if one.payload not in hit]
    lost = set(expected) - set(lines)
    wrong = ["lost"] * len(lost) + ["else"] * (lines != [*expected, b'"the next life"'] and not lost)
    return wrong + ["silent"] * (not reported or not list((folder / "quarantine").iterdir()))


async def full_disk_row(work: Path) -> Row:
    """A disk of 512 kB is filled while events are written, and emptied: what was acknowledged is all there."""
    disk = work / "disk"
    disk.mkdir(parents=True)
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", FILLS_UP, "sh", disk, sys.executable, WRITER]
    ended = await asyncio.to_thread(subprocess.run, command, capture_output=True, cwd=ROOT, timeout=120, check=False)
    said = ended.stdout.splitlines()
    acknowledged = [line for line in said if not line.startswith(b"refused")]
    row = Row("full disk", Phase(), Phase(len(said)), Phase())
    if ended.returncode in (1, 77) and not said:
        row.note = "this machine lets nobody mount a small disk: not tried"
        return row
    export(work / "kept", work / "kept.jsonl")
    kept = (work / "kept.jsonl").read_bytes().splitlines()
    row.lost = f"{len(set(acknowledged) - set(kept))} of {len(acknowledged)} acknowledged events"
    row.note = f"{len(said) - len(acknowledged)} refused, {len(segments(work / 'kept'))} files"
    row.promises = {
        "no acknowledged event lost": set(acknowledged) <= set(kept),
        "none twice": len(kept) == len(set(kept)),
        "some were refused": len(said) > len(acknowledged),
        "goes on by itself": ended.returncode == 0,
        "no file for each refusal": len(segments(work / "kept")) <= 3,
    }
    return row
