"""The small files of a registry that name models: read, replaced as a whole, one writer at a time. Loads no model."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

from app.errors import ModelsUnwritableError
from model.datasets.whole_folder import replace_file, sync_entry

_log = logging.getLogger("unirank")
_LOCK_TIMEOUT_S = 10.0  # a writer holds the lock for milliseconds
_POLL_S = 0.02


def read_lines(file: Path) -> list[str]:
    """The lines of a file that hold something; none where it cannot be read."""
    try:
        return [line for line in map(str.strip, file.read_text("utf-8").splitlines()) if line]
    except (OSError, UnicodeDecodeError):
        return []


def replace(file: Path, *lines: str) -> None:
    """Put these lines into the file, so that a reader, and a machine that starts again after a crash, sees the old
    ones or the new ones. Raises `ModelsUnwritableError`; then the old ones stay.
    """
    try:
        replace_file(file, "".join(f"{line}\n" for line in lines).encode())
    except OSError as error:
        raise _unwritable(file, error) from error
    _sync(file.parent)


def remove(file: Path) -> bool:
    """Remove the file; whether there was one. Raises `ModelsUnwritableError`."""
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
    """Nobody else, in this process or another, reads and then writes the files of the folder meanwhile.

    Raises `ModelsUnwritableError` where somebody else does so for too long. A file system without locks has none.
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
                raise ModelsUnwritableError(f"{folder}: somebody else is moving models, and does not end") from None
            time.sleep(_POLL_S)
        except OSError as error:
            _log.warning("%s cannot be locked: %s", folder, error.strerror)
            return
        else:
            return


def _sync(folder: Path) -> None:
    """Make a rename last. What is renamed is seen by all already: where this fails, only a crash could undo it."""
    try:
        sync_entry(folder)
    except OSError as error:
        _log.warning("%s cannot be synced: %s", folder, error.strerror)


def _unwritable(file: Path, error: OSError) -> ModelsUnwritableError:
    return ModelsUnwritableError(f"{file} cannot be written, so nothing was moved: {error.strerror or error}")
