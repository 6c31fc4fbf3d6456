"""Copies of damaged bytes: `quarantine/SEGMENT-OFFSET.damaged` beside the segments, for whoever looks into the damage.

The segment itself is never changed: the copy survives whatever becomes of it.
"""

from __future__ import annotations

import os
from pathlib import Path

from app.events.frames import Gap

FOLDER = "quarantine"


def quarantine(segment: Path, data: bytes, gap: Gap) -> str:
    """Keep a copy of the bytes of `gap`, `data` being the whole segment. Says in words where the copy is.

    A copy that is there already stays. Where none can be written, the words say why: reading goes on.
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
