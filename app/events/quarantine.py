"""Copies damaged bytes to `quarantine/SEGMENT-OFFSET.damaged` beside the segments, to be inspected by an operator.

Never changes the segment; the copy remains if the segment is cut or deleted.
"""

from __future__ import annotations

import os
from pathlib import Path

from app.events.frames import Gap

FOLDER = "quarantine"


def quarantine(segment: Path, data: bytes, gap: Gap) -> str:
    """Copy the bytes of `gap`; `data` is the whole segment. Returns a text that says where the copy is.

    An existing copy is kept. If none can be written, the text says why, and nothing is raised: reading continues.
    """
    copy = segment.parent / FOLDER / f"{segment.stem}-{gap.start}.damaged"
    try:
        if not copy.exists():
            _write(copy, data[gap.start : gap.end])
    except OSError as error:
        return f"not copied to quarantine: {error.strerror or error}"
    return f"copied to {copy}"


def _write(copy: Path, damaged: bytes) -> None:
    copy.parent.mkdir(exist_ok=True)
    new = copy.with_suffix(f".{os.getpid()}.new")
    try:
        with new.open("wb") as stream:
            stream.write(damaged)
            stream.flush()
            os.fsync(stream.fileno())
        new.rename(copy)
    finally:
        new.unlink(missing_ok=True)
