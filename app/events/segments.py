"""Segments, the files of the event log: one process appends to each, any process may read; recovery cuts torn tails.

A segment belongs to the process that created it, for as long as that process holds its lock; no other process ever
appends to it. The frame format, and how damage is skipped, is in `frames.py`. Knows no event.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from app.events.frames import Frame, Gap, frame, scan
from app.events.quarantine import quarantine
from model.datasets.atomic_writes import sync_entry

SUFFIX = ".log"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_log = logging.getLogger("unirank")


def segments(folder: Path) -> list[Path]:
    """All segments, oldest first."""
    return sorted(folder.glob(f"*{SUFFIX}"))


def newest(paths: Sequence[Path]) -> set[Path]:
    """The newest segment of each process: only these can have a torn tail."""
    return set({path.stem.partition("-")[2]: path for path in sorted(paths)}.values())


def frames(path: Path, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """(offset after the frame, payload) of each complete frame from `offset` on; damaged frames are skipped."""
    for entry in scan(path.read_bytes(), offset):
        if isinstance(entry, Frame):
            yield entry.end, entry.payload


def is_written(path: Path) -> bool:
    """Whether a running process may still append to the segment."""
    with path.open("rb") as stream:
        return not _try_lock(stream.fileno(), fcntl.LOCK_SH)


def recover(folder: Path) -> int:
    """Cut torn tails off the newest segments of processes that have ended; copy other damage there to quarantine.

    Returns the number of bytes cut. A segment that cannot be read or cut is logged and left unchanged.
    """
    cut = 0
    for path in sorted(newest(segments(folder))):
        try:
            cut += _recover_segment(path)
        except OSError as error:
            _log.warning("%s could not be recovered: %s", path, error)
    return cut


def _recover_segment(path: Path) -> int:
    with path.open("r+b") as stream:
        if not _try_lock(stream.fileno(), fcntl.LOCK_EX):
            return 0
        data = stream.read()
        gaps = [entry for entry in scan(data) if isinstance(entry, Gap)]
        for gap in gaps:
            if not gap.torn:
                copy = quarantine(path, data, gap)
                _log.error("%s:%d: %d damaged bytes; %s", path, gap.start, gap.end - gap.start, copy)
        if not gaps or not gaps[-1].torn:
            return 0
        stream.truncate(gaps[-1].start)
        os.fsync(stream.fileno())
        return gaps[-1].end - gaps[-1].start


class Segment:
    """One segment of this process, open for appending. Raises OSError if the disk fails."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{time.time_ns():020d}-{os.getpid()}{SUFFIX}"
        self.size = 0
        self.sealed = False
        self._start_run()
        self._file = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX)  # waits for a recovery that is checking the new file
            sync_entry(folder)  # makes the name of the new file durable
        except OSError:
            self.close()
            raise

    def append(self, payloads: Sequence[bytes]) -> None:
        """Write all payloads and wait until they are on disk; on failure remove them again, if possible.

        After a failure the segment can still be used unless it is `sealed`.
        """
        data = b"".join(frame(payload, self._run, self._number + place) for place, payload in enumerate(payloads))
        try:
            _write_all(self._file, data)
        except BaseException:
            self._undo_append()
            raise
        try:
            os.fdatasync(self._file)
        except BaseException as error:
            self._undo_append()
            if not isinstance(error, OSError) or error.errno not in _NO_ROOM:
                self.sealed = self.sealed or self.size > 0  # what such a disk keeps of the file is undefined
            raise
        self.size += len(data)
        self._number += len(payloads)

    def close(self) -> None:
        """Close the file and release its lock. An empty segment is removed."""
        if self.size == 0:
            with contextlib.suppress(OSError):
                self.path.unlink()
        os.close(self._file)

    def _start_run(self) -> None:
        self._run = int.from_bytes(os.urandom(8)) | 1  # 0 means unnumbered
        self._number = 0

    def _undo_append(self) -> None:
        """Cut off what a failed append wrote. Readers may have seen it, so later frames are of another run."""
        self._start_run()
        try:
            os.ftruncate(self._file, self.size)
        except OSError:
            self.sealed = True


def _write_all(file: int, data: bytes) -> None:
    remaining = memoryview(data)
    while remaining:
        written = os.write(file, remaining)
        if written == 0:
            raise OSError(errno.EIO, "the disk took no byte")
        remaining = remaining[written:]


def _try_lock(file: int, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
