"""Encodes events as frames of bytes, and finds frames again after damage. Opens no file.

A frame is a marker byte, a header in hexadecimal, and the payload. Marker bytes inside a payload are escaped, so the
next frame is found whatever a payload contains and whatever was damaged before it. The header has a checksum of its
own, so that its length is verified before it is used. `run` and `number` identify a frame: a run is frames numbered
from 0 without a gap.

Frames of earlier versions (length, CRC-32, payload; no marker) are read too.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

MARKER = b"\xff"
LONGEST = 1 << 26  # bytes of a payload; a header with a greater length is damaged
_FIELDS = struct.Struct(">IQII")  # length of the escaped payload, run, number, CRC-32 of the escaped payload
_CHECK = struct.Struct(">I")  # CRC-32 of the fields
_HEADER = re.compile(rb"\xff([0-9a-f]{48})")
HEADER_BYTES = 1 + 2 * (_FIELDS.size + _CHECK.size)

_OLD_HEADER = struct.Struct("<II")
_OLD_START = re.compile(rb"(?=(?!\0{4})...[\0-\x03])", re.DOTALL)  # a length from 1 to LONGEST
_OLD_RESYNC_LONGEST = 1 << 22  # without a marker, every position may be a header: bounds the bytes to checksum


@dataclass(frozen=True, slots=True)
class Frame:
    """A complete frame at bytes `start` to `end`. Run None = unnumbered: only its position identifies it."""

    start: int
    end: int
    payload: bytes
    run: int | None = None
    number: int = 0


@dataclass(frozen=True, slots=True)
class Gap:
    """Bytes from `start` to `end` that are not a complete frame.

    `torn`: an interrupted write: the bytes reach the end of the file and cannot be a completely written frame.
    """

    start: int
    end: int
    torn: bool = False


def frame(payload: bytes, run: int = 0, number: int = 0) -> bytes:
    """Encode a payload; run 0 = unnumbered. Raises ValueError for an empty or too long payload."""
    if not 0 < len(payload) <= LONGEST:
        raise ValueError(f"a frame holds 1 to {LONGEST} bytes, got {len(payload)}")
    body = payload.replace(b"\xfe", b"\xfe\x00").replace(MARKER, b"\xfe\x01")
    fields = _FIELDS.pack(len(body), run, number, zlib.crc32(body))
    return MARKER + (fields + _CHECK.pack(zlib.crc32(fields))).hex().encode() + body


def scan(data: bytes, start: int = 0) -> Iterator[Frame | Gap]:
    """All of `data` from `start` on: complete frames, and the gaps between them."""
    marked = first_frame(data) is not None
    next_frame, is_torn = (first_frame, _is_torn) if marked else (_next_old_frame, _is_torn_old)
    at = start
    while entry := next_frame(data, at):
        if at < entry.start:
            yield Gap(at, entry.start)
        yield entry
        at = entry.end
    if at < len(data):
        yield Gap(at, len(data), is_torn(data, at))


def first_frame(data: bytes, start: int = 0) -> Frame | None:
    """The first complete frame with a marker from `start` on. If None, `data` is of an earlier version (or empty)."""
    return next((decoded for match in _HEADER.finditer(data, start) if (decoded := _decode_frame(data, match))), None)


def frame_at(data: bytes, start: int) -> Frame | None:
    """The complete frame with a marker that begins at `start`, if any."""
    match = _HEADER.match(data, start)
    return _decode_frame(data, match) if match else None


def _decode_frame(data: bytes, match: re.Match[bytes]) -> Frame | None:
    fields = _decode_header(match)
    if fields is None:
        return None
    length, run, number, checksum = fields
    end = match.end() + length
    body = data[match.end() : end]
    if len(body) < length or zlib.crc32(body) != checksum:
        return None
    payload = body.replace(b"\xfe\x01", MARKER).replace(b"\xfe\x00", b"\xfe")
    return Frame(match.start(), end, payload, run or None, number)


def _decode_header(match: re.Match[bytes]) -> tuple[int, int, int, int] | None:
    """Length, run, number and checksum of a header; None if it is damaged."""
    raw = bytes.fromhex(match[1].decode())
    if _CHECK.unpack_from(raw, _FIELDS.size)[0] != zlib.crc32(raw[: _FIELDS.size]):
        return None
    length, run, number, checksum = _FIELDS.unpack_from(raw)
    return length, run, number, checksum


def _is_torn(data: bytes, start: int) -> bool:
    """Whether the rest is too short for a frame, or a valid header whose payload goes beyond the end."""
    if len(data) - start <= HEADER_BYTES:
        return True
    match = _HEADER.match(data, start)
    fields = _decode_header(match) if match else None
    return match is not None and fields is not None and match.end() + fields[0] > len(data)


def _next_old_frame(data: bytes, start: int) -> Frame | None:
    """Like `first_frame`, for frames without a marker: after damage every position is tried, with shorter lengths."""
    at, longest = start, LONGEST
    while 0 <= at < len(data) - _OLD_HEADER.size:
        if decoded := _decode_old_frame(data, at, longest):
            return decoded
        match = _OLD_START.search(data, at + 1)
        at, longest = match.start() if match else -1, _OLD_RESYNC_LONGEST
    return None


def _is_torn_old(data: bytes, start: int) -> bool:
    """Whether the rest is too short for any frame: a length without a checksum of its own proves nothing."""
    return len(data) - start <= _OLD_HEADER.size


def _decode_old_frame(data: bytes, start: int, longest: int) -> Frame | None:
    length, checksum = _OLD_HEADER.unpack_from(data, start)
    end = start + _OLD_HEADER.size + length
    if not 0 < length <= longest or end > len(data):
        return None
    payload = data[start + _OLD_HEADER.size : end]
    return Frame(start, end, payload) if zlib.crc32(payload) == checksum else None
