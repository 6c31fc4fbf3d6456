"""Appends the events of the log to one file of JSON lines, each exactly once, even if runs are interrupted.

A cursor file beside it stores what was read, and the length of the file at that time. Whatever a run that died wrote
beyond that length is cut off and written again.
"""

from __future__ import annotations

import fcntl
import os
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO

import msgspec

from app.events.reading import Damage, Event, Position, Whole, read

CURSOR = ".cursor"
Report = Callable[[Damage], None]


class _Cursor(Position, forbid_unknown_fields=True):
    """Length of the file, and what was read. `check`: CRC-32 of the other fields; earlier versions wrote none."""

    bytes: Whole = 0
    check: Whole | None = None

    def checksum(self) -> int:
        """The expected value of `check`."""
        return zlib.crc32(msgspec.json.encode({**msgspec.structs.asdict(self), "check": None}))


def export(
    folder: Path, out: Path, say: Callable[[str], None] = lambda _: None, report: Report = lambda _: None
) -> int:
    """Append the events that `out` does not have yet, as they were sent. Returns how many.

    Damage is passed to `report`, once, and skipped. If the file was moved away, a new one is started with the events
    after the cursor. Raises ValueError for a file that this function did not write, and while another export to it
    is running.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("ab") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"{out}: another export is writing to it") from error
        cursor = _read_cursor(out)
        _truncate_to(stream, out, cursor)
        total = 0
        for segment in read(folder, cursor):
            if count := _copy(segment, stream, report):
                _commit(stream, out, cursor)
                total += count
                say(f"{total:,} events")
        _commit(stream, out, cursor)  # so that damage is not reported twice, even without new events
        return total


def _copy(entries: Iterable[Event | Damage], stream: IO[bytes], report: Report) -> int:
    count = 0
    for entry in entries:
        if isinstance(entry, Damage):
            report(entry)
        else:
            stream.write(entry.payload + b"\n")
            count += 1
    return count


def _read_cursor(out: Path) -> _Cursor:
    path = _cursor_path(out)
    try:
        cursor = msgspec.json.decode(path.read_bytes(), type=_Cursor)
    except FileNotFoundError:
        return _Cursor()
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not what an export wrote ({error}); export to another file") from error
    if cursor.check not in (None, cursor.checksum()):
        raise ValueError(f"{path}: not what an export wrote (its checksum is wrong); export to another file")
    return cursor


def _cursor_path(out: Path) -> Path:
    return out.with_name(out.name + CURSOR)


def _truncate_to(stream: IO[bytes], out: Path, cursor: _Cursor) -> None:
    size = out.stat().st_size
    if size == 0:
        cursor.bytes = 0  # moved away, or never written
    elif not _cursor_path(out).exists() or size < cursor.bytes:
        raise ValueError(f"{out}: not a file that an export wrote, or part of it is missing; name another one")
    stream.truncate(cursor.bytes)


def _commit(stream: IO[bytes], out: Path, cursor: _Cursor) -> None:
    """Sync the file first, then write the cursor: the reverse order could lose events."""
    stream.flush()
    os.fsync(stream.fileno())
    cursor.bytes = os.fstat(stream.fileno()).st_size
    cursor.check = cursor.checksum()
    new = _cursor_path(out).with_suffix(".new")
    with new.open("wb") as file:
        file.write(msgspec.json.encode(cursor))
        file.flush()
        os.fsync(file.fileno())
    new.rename(_cursor_path(out))
