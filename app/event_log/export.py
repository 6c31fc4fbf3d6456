"""Events out of the log into one file of JSON lines, each exactly once, however often and wherever it was cut off.

Beside the file lies a cursor: how far each segment was read, and how long the file was then. What a run that died wrote
behind that length is cut off and written again.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Annotated

import msgspec

from app.event_log.segments import frames, segments

CURSOR = ".cursor"
_Bytes = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class _Cursor(msgspec.Struct, forbid_unknown_fields=True):
    """How long the file was, and how far each segment was read."""

    bytes: _Bytes = 0
    segments: dict[str, _Bytes] = msgspec.field(default_factory=dict)


def export(folder: Path, out: Path, say: Callable[[str], None] = lambda _: None) -> int:
    """Append the events that `out` does not have yet. Returns how many.

    A file that was moved away is begun anew, with the events behind the cursor. Raises ValueError for a file that this
    function did not write, and while another export to it is running.
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
        for path in segments(folder):
            count = _copy(path, stream, cursor)
            if count:
                _commit(stream, out, cursor)
                total += count
                say(f"{total:,} events")
        return total


def _cursor(out: Path) -> _Cursor:
    path = _cursor_path(out)
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Cursor)
    except FileNotFoundError:
        return _Cursor()
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not what an export wrote ({error}); export to another file") from error


def _cursor_path(out: Path) -> Path:
    return out.with_name(out.name + CURSOR)


def _back_to(stream: IO[bytes], out: Path, cursor: _Cursor) -> None:
    size = out.stat().st_size
    if size == 0:
        cursor.bytes = 0  # moved away, or never begun
    elif not _cursor_path(out).exists() or size < cursor.bytes:
        raise ValueError(f"{out}: not a file that an export wrote, or part of it is missing; name another one")
    stream.truncate(cursor.bytes)


def _copy(path: Path, stream: IO[bytes], cursor: _Cursor) -> int:
    offset, count = cursor.segments.get(path.name, 0), 0
    for behind, payload in frames(path, offset):
        stream.write(payload + b"\n")
        offset, count = behind, count + 1
    cursor.segments[path.name] = offset
    return count


def _commit(stream: IO[bytes], out: Path, cursor: _Cursor) -> None:
    """The file first, then the cursor: the other way round would lose events."""
    stream.flush()
    os.fsync(stream.fileno())
    cursor.bytes = os.fstat(stream.fileno()).st_size
    new = _cursor_path(out).with_suffix(".new")
    with new.open("wb") as written:
        written.write(msgspec.json.encode(cursor))
        written.flush()
        os.fsync(written.fileno())
    new.rename(_cursor_path(out))
