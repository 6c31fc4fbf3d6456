"""Frames as bytes: how an event is framed, and how frames are found again around damage. Opens no file.

A frame is a marker byte, a header in hexadecimal, and the payload. Marker bytes inside a payload are escaped, so the
next frame is found whatever a payload holds and whatever was damaged before it. The header has a checksum of its own:
a length is believed or not before it is followed. `run` and `number` name a frame: a run is frames numbered from 0
without a gap.

Frames of earlier versions (length, CRC-32, payload; no marker) are read too.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

MARKER = b"\xff"
LONGEST = 1 << 26  # bytes of a payload; a header that says more is damaged
_FIELDS = struct.Struct(">IQII")  # length of the escaped payload, run, number, CRC-32 of the escaped payload
_CHECK = struct.Struct(">I")  # CRC-32 of the fields
_HEADER = re.compile(rb"\xff([0-9a-f]{48})")
HEADER_BYTES = 1 + 2 * (_FIELDS.size + _CHECK.size)

_OLD_HEADER = struct.Struct("<II")
_OLD_START = re.compile(rb"(?=(?!\0{4})...[\0-\x03])", re.DOTALL)  # a length from 1 to LONGEST
_OLD_RESYNC_LONGEST = 1 << 22  # without a marker, every place may be a header: bounds the checksums taken


@dataclass(frozen=True, slots=True)
class Frame:
    """A whole frame at `start` to `end` of its bytes. Run None = it has no name: its place alone tells it apart."""

    start: int
    end: int
    payload: bytes
    run: int | None = None
    number: int = 0


@dataclass(frozen=True, slots=True)
class Gap:
    """Bytes from `start` to `end` that are no whole frame.

    `torn`: the bytes end with the file and cannot be a frame that was written whole: a write that was cut off.
    """

    start: int
    end: int
    torn: bool = False


def frame(payload: bytes, run: int = 0, number: int = 0) -> bytes:
    """A payload, ready to append; run 0 = without a name. Raises ValueError for an empty or too long one."""
    if not 0 < len(payload) <= LONGEST:
        raise ValueError(f"a frame holds 1 to {LONGEST} bytes, got {len(payload)}")
    body = payload.replace(b"\xfe", b"\xfe\x00").replace(MARKER, b"\xfe\x01")
    fields = _FIELDS.pack(len(body), run, number, zlib.crc32(body))
    return MARKER + (fields + _CHECK.pack(zlib.crc32(fields))).hex().encode() + body


def scan(data: bytes, start: int = 0) -> Iterator[Frame | Gap]:
    """All of `data` from `start` on: whole frames, and the gaps between them."""
    marked = first_frame(data) is not None
    next_frame, is_torn = (first_frame, _is_torn) if marked else (_next_old, _is_torn_old)
    at = start
    while found := next_frame(data, at):
        if at < found.start:
            yield Gap(at, found.start)
        yield found
        at = found.end
    if at < len(data):
        yield Gap(at, len(data), is_torn(data, at))


def first_frame(data: bytes, start: int = 0) -> Frame | None:
    """The first whole frame with a marker from `start` on. Without any, `data` is of an earlier version (or empty)."""
    return next((found for match in _HEADER.finditer(data, start) if (found := _marked(data, match))), None)


def frame_at(data: bytes, start: int) -> Frame | None:
    """The whole frame with a marker that begins at `start`, if one does."""
    match = _HEADER.match(data, start)
    return _marked(data, match) if match else None


def _marked(data: bytes, match: re.Match[bytes]) -> Frame | None:
    fields = _fields(match)
    if fields is None:
        return None
    length, run, number, checksum = fields
    end = match.end() + length
    body = data[match.end() : end]
    if len(body) < length or zlib.crc32(body) != checksum:
        return None
    payload = body.replace(b"\xfe\x01", MARKER).replace(b"\xfe\x00", b"\xfe")
    return Frame(match.start(), end, payload, run or None, number)


def _fields(match: re.Match[bytes]) -> tuple[int, int, int, int] | None:
    """Length, run, number and checksum of a header; None where it is damaged."""
    raw = bytes.fromhex(match[1].decode())
    if _CHECK.unpack_from(raw, _FIELDS.size)[0] != zlib.crc32(raw[: _FIELDS.size]):
        return None
    length, run, number, checksum = _FIELDS.unpack_from(raw)
    return length, run, number, checksum


def _is_torn(data: bytes, start: int) -> bool:
    """Too short for any frame, or a sound header whose payload goes on behind the end."""
    if len(data) - start <= HEADER_BYTES:
        return True
    match = _HEADER.match(data, start)
    fields = _fields(match) if match else None
    return match is not None and fields is not None and match.end() + fields[0] > len(data)


def _next_old(data: bytes, start: int) -> Frame | None:
    """As `first_frame`. Nothing marks a beginning: behind damage every place is tried, with shorter lengths."""
    at, longest = start, LONGEST
    while 0 <= at < len(data) - _OLD_HEADER.size:
        if found := _old(data, at, longest):
            return found
        match = _OLD_START.search(data, at + 1)
        at, longest = match.start() if match else -1, _OLD_RESYNC_LONGEST
    return None


def _is_torn_old(data: bytes, start: int) -> bool:
    """A length has no checksum of its own here: only what is too short for any frame counts as torn."""
    return len(data) - start <= _OLD_HEADER.size


def _old(data: bytes, start: int, longest: int) -> Frame | None:
    length, checksum = _OLD_HEADER.unpack_from(data, start)
    end = start + _OLD_HEADER.size + length
    if not 0 < length <= longest or end > len(data):
        return None
    payload = data[start + _OLD_HEADER.size : end]
    return Frame(start, end, payload) if zlib.crc32(payload) == checksum else None
