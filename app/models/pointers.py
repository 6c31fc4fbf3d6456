"""Reads and atomically replaces the small files of a registry that name models. Loads no model."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

from app.errors import ModelsUnwritableError
from model.datasets.atomic_writes import replace_file, sync_entry

_log = logging.getLogger("unirank")
_LOCK_TIMEOUT_S = 10.0  # a writer holds the lock for milliseconds
_POLL_S = 0.02


def read_lines(file: Path) -> list[str]:
    """The non-empty lines of a file; none if it cannot be read."""
    try:
        return [line for line in map(str.strip, file.read_text("utf-8").splitlines()) if line]
    except (OSError, UnicodeDecodeError):
        return []


def replace(file: Path, *lines: str) -> None:
    """Replace the lines of a file atomically: readers, even after a crash, see either the old lines or the new ones.
    Raises `ModelsUnwritableError`; then the old lines stay.
    """
    try:
        replace_file(file, "".join(f"{line}\n" for line in lines).encode())
    except OSError as error:
        raise _unwritable(file, error) from error
    _sync(file.parent)


def remove(file: Path) -> bool:
    """Remove the file; returns whether it existed. Raises `ModelsUnwritableError`."""
    try:
        file.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _unwritable(file, error) from error
    _sync(file.parent)
    return True


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of the folder, against all threads and processes that change its files.

    Raises `ModelsUnwritableError` if it cannot be acquired in time. File systems without locks are not locked.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        _lock(handle, folder)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, folder: Path) -> None:
    deadline = time.monotonic() + _LOCK_TIMEOUT_S
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise ModelsUnwritableError(f"{folder}: another process is moving models and does not finish") from None
            time.sleep(_POLL_S)
        except OSError as error:
            _log.warning("%s cannot be locked: %s", folder, error.strerror)
            return
        else:
            return


def _sync(folder: Path) -> None:
    """Make a rename durable. A failure is only logged: the rename is visible already, only a crash could undo it."""
    try:
        sync_entry(folder)
    except OSError as error:
        _log.warning("%s cannot be synced: %s", folder, error.strerror)


def _unwritable(file: Path, error: OSError) -> ModelsUnwritableError:
    return ModelsUnwritableError(f"{file} cannot be written, so nothing was moved: {error.strerror or error}")
