"""Files of events: one process appends to each, everybody may read, recovery cuts what a death left half-written.

A segment belongs to the process that made it, for as long as that process holds its lock; another process never appends
to it. How frames look, and how damage is stepped over, is in `frames.py`. Knows no event.
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
from model.datasets.whole_folder import sync_entry

SUFFIX = ".log"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_log = logging.getLogger("unirank")


def segments(folder: Path) -> list[Path]:
    """All segments, oldest first."""
    return sorted(folder.glob(f"*{SUFFIX}"))


def newest(paths: Sequence[Path]) -> set[Path]:
    """The newest segment of each process: the only ones that a death can have left half-written."""
    return set({path.stem.partition("-")[2]: path for path in sorted(paths)}.values())


def frames(path: Path, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """(offset behind the frame, payload) of each whole frame from `offset` on; damaged ones are stepped over."""
    for found in scan(path.read_bytes(), offset):
        if isinstance(found, Frame):
            yield found.end, found.payload


def is_written(path: Path) -> bool:
    """Whether a living process may still append to the segment."""
    with path.open("rb") as stream:
        return not _lock(stream.fileno(), fcntl.LOCK_SH)


def recover(folder: Path) -> int:
    """Cut torn tails off the newest segments of processes that are gone; keep a copy of what else is damaged there.

    Returns the bytes that were cut. A segment that cannot be read or cut is left as it is, and logged.
    """
    cut = 0
    for path in sorted(newest(segments(folder))):
        try:
            cut += _recover(path)
        except OSError as error:
            _log.warning("%s could not be recovered: %s", path, error)
    return cut


def _recover(path: Path) -> int:
    with path.open("r+b") as stream:
        if not _lock(stream.fileno(), fcntl.LOCK_EX):
            return 0
        data = stream.read()
        gaps = [found for found in scan(data) if isinstance(found, Gap)]
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
    """One segment of this process, open for appending. Raises OSError where the disk refuses."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{time.time_ns():020d}-{os.getpid()}{SUFFIX}"
        self.size = 0
        self.sealed = False
        self._begin_run()
        self._file = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX)  # waits for a recovery that looks at the new name
            sync_entry(folder)  # it holds the name of the new file
        except OSError:
            self.close()
            raise

    def append(self, payloads: Sequence[bytes]) -> None:
        """Write all payloads and wait until the disk has them; on failure none of them stays, where that can be had.

        After a failure the segment goes on if it is not `sealed`.
        """
        data = b"".join(frame(payload, self._run, self._number + place) for place, payload in enumerate(payloads))
        try:
            _write(self._file, data)
        except BaseException:
            self._take_back()
            raise
        try:
            os.fdatasync(self._file)
        except BaseException as error:
            self._take_back()
            if not isinstance(error, OSError) or error.errno not in _NO_ROOM:
                self.sealed = self.sealed or self.size > 0  # nobody knows what such a disk keeps of the file
            raise
        self.size += len(data)
        self._number += len(payloads)

    def close(self) -> None:
        """Give up file and lock. A segment that holds nothing is removed."""
        if self.size == 0:
            with contextlib.suppress(OSError):
                self.path.unlink()
        os.close(self._file)

    def _begin_run(self) -> None:
        self._run = int.from_bytes(os.urandom(8)) | 1  # 0 would be no name
        self._number = 0

    def _take_back(self) -> None:
        """Cut off what a failed append wrote. Somebody may have read it: the frames that follow are of another run."""
        self._begin_run()
        try:
            os.ftruncate(self._file, self.size)
        except OSError:
            self.sealed = True


def _write(file: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        written = os.write(file, left)
        if written == 0:
            raise OSError(errno.EIO, "the disk took no byte")
        left = left[written:]


def _lock(file: int, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
