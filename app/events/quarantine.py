"""Copies damaged bytes to `quarantine/SEGMENT-OFFSET.damaged` beside the segments, to be inspected by an operator.

Never changes the segment; the copy remains if the segment is cut or deleted.
"""

from __future__ import annotations

from pathlib import Path

from app.events.frames import Gap
from model.datasets.atomic_writes import replace_file

FOLDER = "quarantine"


def quarantine(segment: Path, data: bytes, gap: Gap) -> str:
    """Copy the bytes of `gap`; `data` is the whole segment. Returns a text that says where the copy is.

    An existing copy is kept. If none can be written, the text says why, and nothing is raised: reading continues.
    """
    copy = segment.parent / FOLDER / f"{segment.stem}-{gap.start}.damaged"
    try:
        if not copy.exists():
            copy.parent.mkdir(exist_ok=True)
            replace_file(copy, data[gap.start : gap.end])
    except OSError as error:
        return f"not copied to quarantine: {error.strerror or error}"
    return f"copied to {copy}"
