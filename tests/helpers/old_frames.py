"""Frames of the event log in the format of earlier versions. Tests nothing."""

from __future__ import annotations

import struct
import zlib


def old_frame(payload: bytes) -> bytes:
    """A payload as versions up to 0.1 wrote it."""
    return struct.pack("<II", len(payload), zlib.crc32(payload)) + payload
