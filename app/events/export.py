"""Events out of the log into one file of JSON lines, each exactly once, however often and wherever it was cut off.

Beside the file lies a cursor: what was read, and how long the file was then. What a run that died wrote behind that
length is cut off and written again.
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
    """How long the file was, and what was read. `check`: CRC-32 of the rest; earlier versions wrote none."""

    bytes: Whole = 0
    check: Whole | None = None

    def checksum(self) -> int:
        """What `check` must be."""
        return zlib.crc32(msgspec.json.encode({**msgspec.structs.asdict(self), "check": None}))


def export(
    folder: Path, out: Path, say: Callable[[str], None] = lambda _: None, report: Report = lambda _: None
) -> int:
    """Append the events that `out` does not have yet, as they were sent. Returns how many.

    What could not be read is told to `report`, once, and stepped over. A file that was moved away is begun anew, with
    the events behind the cursor. Raises ValueError for a file that this function did not write, and while another
    export to it is running.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("ab") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"{out}: another export is writing to it") from error
        cursor = _cursor(out)
        _back_to(stream, out, cursor)
        total = 0
        for found in read(folder, cursor):
            if count := _copy(found, stream, report):
                _commit(stream, out, cursor)
                total += count
                say(f"{total:,} events")
        _commit(stream, out, cursor)  # damage alone is not told twice either
        return total


def _copy(found: Iterable[Event | Damage], stream: IO[bytes], report: Report) -> int:
    count = 0
    for one in found:
        if isinstance(one, Damage):
            report(one)
        else:
            stream.write(one.payload + b"\n")
            count += 1
    return count


def _cursor(out: Path) -> _Cursor:
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


def _back_to(stream: IO[bytes], out: Path, cursor: _Cursor) -> None:
    size = out.stat().st_size
    if size == 0:
        cursor.bytes = 0  # moved away, or never begun
    elif not _cursor_path(out).exists() or size < cursor.bytes:
        raise ValueError(f"{out}: not a file that an export wrote, or part of it is missing; name another one")
    stream.truncate(cursor.bytes)


def _commit(stream: IO[bytes], out: Path, cursor: _Cursor) -> None:
    """The file first, then the cursor: the other way round would lose events."""
    stream.flush()
    os.fsync(stream.fileno())
    cursor.bytes = os.fstat(stream.fileno()).st_size
    cursor.check = cursor.checksum()
    new = _cursor_path(out).with_suffix(".new")
    with new.open("wb") as written:
        written.write(msgspec.json.encode(cursor))
        written.flush()
        os.fsync(written.fileno())
    new.rename(_cursor_path(out))
