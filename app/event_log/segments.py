"""Files of events: frames appended to segments, read back up to the first that is torn. Knows no event.

A frame is its payload's length and CRC-32 (little-endian, 4 bytes each), then the payload. A segment belongs to the
process that made it, for as long as that process holds its lock; another process never appends to it.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

SUFFIX = ".log"
_HEADER = struct.Struct("<II")
_LONGEST = 1 << 26  # a longer frame is no frame: its header is torn


def frame(payload: bytes) -> bytes:
    """A payload, ready to append. Raises ValueError for an empty one, which would read as a hole in the file."""
    if not 0 < len(payload) <= _LONGEST:
        raise ValueError(f"a frame holds 1 to {_LONGEST} bytes, got {len(payload)}")
    return _HEADER.pack(len(payload), zlib.crc32(payload)) + payload


def frames(path: Path, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """(offset behind the frame, payload) from `offset` on, up to the end or the first torn frame."""
    with path.open("rb") as stream:
        stream.seek(offset)
        while len(header := stream.read(_HEADER.size)) == _HEADER.size:
            length, checksum = _HEADER.unpack(header)
            if not 0 < length <= _LONGEST:
                return
            payload = stream.read(length)
            if len(payload) < length or zlib.crc32(payload) != checksum:
                return
            offset += _HEADER.size + length
            yield offset, payload


def segments(folder: Path) -> list[Path]:
    """All segments, oldest first."""
    return sorted(folder.glob(f"*{SUFFIX}"))


def recover(folder: Path) -> int:
    """Cut torn tails off the segments whose process is gone. Returns the bytes that were cut."""
    cut = 0
    for path in segments(folder):
        with path.open("r+b") as stream:
            if _lock(stream.fileno()):
                end = max((offset for offset, _ in frames(path)), default=0)
                size = path.stat().st_size
                if end < size:
                    stream.truncate(end)
                    os.fsync(stream.fileno())
                    cut += size - end
    return cut


class Segment:
    """One segment of this process, open for appending. Raises OSError where the disk refuses."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{time.time_ns():020d}-{os.getpid()}{SUFFIX}"
        self._file = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)  # waits for a recovery that looks at the new name
        self.size = 0
        _sync_folder(folder)

    def append(self, payloads: Sequence[bytes]) -> None:
        """Write all payloads and wait until the disk has them; on failure none of them stays, where that can be had."""
        data = memoryview(b"".join(map(frame, payloads)))
        total = len(data)
        try:
            while data:
                data = data[os.write(self._file, data) :]
            os.fdatasync(self._file)
        except OSError:
            os.ftruncate(self._file, self.size)
            raise
        self.size += total

    def close(self) -> None:
        """Give up file and lock."""
        os.close(self._file)


def _lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sync_folder(folder: Path) -> None:
    """The name of a new file is in the folder, which has to reach the disk, too."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
