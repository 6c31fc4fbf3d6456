"""The log read from end to end: each event once, by its own name (run and number), and what is missing in between.

Remembers in a `Position` what was read before. Writes nothing but copies of damaged bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from app.events.frames import MARKER, Frame, Gap, first_frame, frame_at, scan
from app.events.quarantine import quarantine
from app.events.segments import is_written, newest, segments

Whole = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class Position(msgspec.Struct, forbid_unknown_fields=True):
    """What was read: the end in each file (a hint), and the next number of each run (what counts)."""

    segments: dict[str, Whole] = msgspec.field(default_factory=dict)
    runs: dict[str, Whole] = msgspec.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes `start` to `end` of a segment that could not be read. `missing` None = nobody knows how many events."""

    path: Path
    start: int
    end: int
    missing: int | None
    copy: str = ""

    def __str__(self) -> str:
        events = "an unknown number of" if self.missing is None else f"{self.missing:,}"
        copy = f"; {self.copy}" if self.copy else ""
        return f"{self.path}:{self.start}: {self.end - self.start:,} damaged bytes, {events} events missing{copy}"


@dataclass(frozen=True, slots=True)
class Event:
    """One event as it was stored."""

    payload: bytes


def read(folder: Path, position: Position) -> Iterator[Iterator[Event | Damage]]:
    """What `position` does not have yet, segment by segment, oldest first. Moves `position` as it is consumed.

    The end of a segment that is still written to is left for the next time, and so is a torn tail.
    """
    paths = segments(folder)
    ends = newest(paths)
    for path in paths:
        yield _read(path, position, path in ends)


def _read(path: Path, position: Position, is_newest: bool) -> Iterator[Event | Damage]:
    try:
        written = is_written(path)  # asked before reading: who dies in between is read to the end the next time
        data = path.read_bytes()
    except FileNotFoundError:  # it held nothing, and its process removed it
        return
    except OSError as error:
        yield Damage(path, 0, 0, None, f"it cannot be read: {error.strerror}")
        return
    before: Gap | None = None
    run = None
    for found in scan(data, _start(data, path.name, position)):
        if isinstance(found, Gap):
            before = found
            continue
        expected = found.number if found.run is None else position.runs.get(_key(found), 0)
        if found.number >= expected:
            if before or found.number > expected:
                yield _damage(path, data, before or Gap(found.start, found.start), found, expected, run)
            yield _took(found, path, position)
        before, run = None, found.run
    if before and _is_news(before, position.segments.get(path.name), written, is_newest):
        yield Damage(path, before.start, before.end, None, quarantine(path, data, before))
        position.segments[path.name] = before.end


def _is_news(last: Gap, was_read: int | None, written: bool, is_newest: bool) -> bool:
    """Whether a gap at the end is damage that was not told before, and not what is being or was half written."""
    return not written and not (last.torn and is_newest) and last.end != was_read


def _took(found: Frame, path: Path, position: Position) -> Event:
    position.segments[path.name] = found.end
    if found.run is not None:
        position.runs[_key(found)] = found.number + 1
    return Event(found.payload)


def _start(data: bytes, name: str, position: Position) -> int:
    """Where to go on: behind what was read. Where frames have names and those at that place are not the ones expected,
    the file has changed since: at the start.
    """
    offset = position.segments.get(name, 0)
    first = first_frame(data) if offset else None
    if first is None or first.run is None:
        return min(offset, len(data))
    is_end = offset == len(data)
    found = frame_at(data, data.rfind(MARKER) if is_end else offset)
    return offset if found and found.number + is_end == position.runs.get(_key(found), 0) else 0


def _damage(path: Path, data: bytes, gap: Gap, behind: Frame, expected: int, run: int | None) -> Damage:
    """What lies before the frame `behind`: the numbers say how many events, unless a run ended in there."""
    counted = behind.run is not None and (run == behind.run or expected > 0 or behind.number > expected)
    copy = quarantine(path, data, gap) if gap.end > gap.start else ""
    return Damage(path, gap.start, gap.end, behind.number - expected if counted else None, copy)


def _key(found: Frame) -> str:
    return f"{found.run or 0:016x}"
