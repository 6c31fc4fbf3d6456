"""Reads the log from start to end: each event once, identified by run and number, and the damage in between.

A `Position` stores what has been read. Writes nothing but copies of damaged bytes.
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
    """What has been read: the offset in each file (a hint), and the next number of each run (authoritative)."""

    segments: dict[str, Whole] = msgspec.field(default_factory=dict)
    runs: dict[str, Whole] = msgspec.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes `start` to `end` of a segment that could not be read. `missing`: lost events, None = unknown."""

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
    """All entries after `position`, segment by segment, oldest first. Moves `position` as they are consumed.

    The incomplete end of a segment that is still written to is left for the next time, and so is a torn tail.
    """
    paths = segments(folder)
    ends = newest(paths)
    for path in paths:
        yield _read_segment(path, position, path in ends)


def _read_segment(path: Path, position: Position, is_newest: bool) -> Iterator[Event | Damage]:
    try:
        written = is_written(path)  # before reading: if its process dies in between, the next time reads to the end
        data = path.read_bytes()
    except FileNotFoundError:  # it was empty, and its process removed it
        return
    except OSError as error:
        yield Damage(path, 0, 0, None, f"it cannot be read: {error.strerror}")
        return
    gap: Gap | None = None
    run = None
    for entry in scan(data, _start_offset(data, path.name, position)):
        if isinstance(entry, Gap):
            gap = entry
            continue
        expected = entry.number if entry.run is None else position.runs.get(_run_key(entry), 0)
        if entry.number >= expected:
            if gap or entry.number > expected:
                yield _damage(path, data, gap or Gap(entry.start, entry.start), entry, expected, run)
            yield _advance(entry, path, position)
        gap, run = None, entry.run
    if gap and _is_new_damage(gap, position.segments.get(path.name), written, is_newest):
        yield Damage(path, gap.start, gap.end, None, quarantine(path, data, gap))
        position.segments[path.name] = gap.end


def _is_new_damage(gap: Gap, read_to: int | None, written: bool, is_newest: bool) -> bool:
    """Whether a gap at the end is damage that was not reported before, and not an unfinished or torn write."""
    return not written and not (gap.torn and is_newest) and gap.end != read_to


def _advance(frame: Frame, path: Path, position: Position) -> Event:
    position.segments[path.name] = frame.end
    if frame.run is not None:
        position.runs[_run_key(frame)] = frame.number + 1
    return Event(frame.payload)


def _start_offset(data: bytes, name: str, position: Position) -> int:
    """Where to continue: after what was read; at the start if the file has changed since then, that is, if frames are
    numbered and the frame there is not the expected one.
    """
    offset = position.segments.get(name, 0)
    first = first_frame(data) if offset else None
    if first is None or first.run is None:
        return min(offset, len(data))
    is_end = offset == len(data)
    frame = frame_at(data, data.rfind(MARKER) if is_end else offset)
    return offset if frame and frame.number + is_end == position.runs.get(_run_key(frame), 0) else 0


def _damage(path: Path, data: bytes, gap: Gap, next_frame: Frame, expected: int, run: int | None) -> Damage:
    """The damage before `next_frame`. Frame numbers tell how many events are missing, unless a run ended there."""
    counted = next_frame.run is not None and (run == next_frame.run or expected > 0 or next_frame.number > expected)
    copy = quarantine(path, data, gap) if gap.end > gap.start else ""
    return Damage(path, gap.start, gap.end, next_frame.number - expected if counted else None, copy)


def _run_key(frame: Frame) -> str:
    return f"{frame.run or 0:016x}"
