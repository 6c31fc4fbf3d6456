"""Write a folder atomically: build it next to its target, sync it to disk, swap it in.

Does not know what the folder contains. If the process is killed, the old folder or the new one is left; the next
write removes what an interrupted one left next to it (`.NAME.building-…`).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_EXCHANGE = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP}
_AT_FDCWD = -100  # of renameat2: paths are relative to the working directory
_RENAME_EXCHANGE = 2


@contextmanager
def folder_written_atomically(target: Path, is_ours: Callable[[str], bool] | None = None) -> Iterator[Path]:
    """Yield an empty folder to write in; at the end of the block it replaces `target`.

    If the block raises, `target` stays unchanged and the new folder is removed. `is_ours` decides by name which
    files of an earlier folder are replaced; all others are kept (None = nothing is kept). Raises `OSError`, with
    a message that names `target`, if the disk is full, and `FileExistsError` if `target` is a file or contains
    a folder that is not ours.
    """
    place = target.resolve()
    check_can_be_replaced(place, is_ours)
    place.parent.mkdir(parents=True, exist_ok=True)
    remove_unfinished(place)
    building = Path(tempfile.mkdtemp(prefix=f".{place.name}.building-", dir=place.parent))
    lock = os.open(building, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        building.chmod(_mode_of(place))
        yield building
        _keep_other_entries(place, building, is_ours)
        sync_folder(building)
        _swap(building, place)
        sync_entry(place.parent)
    except OSError as error:
        raise _clear_error(error, target) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)  # after the swap this is the old folder
        os.close(lock)


def check_can_be_replaced(target: Path, is_ours: Callable[[str], bool] | None = None) -> None:
    """Raise `FileExistsError` if `target` is a file or a mount point, or contains a folder that is not ours."""
    if target.exists() and not target.is_dir():
        raise FileExistsError(f"{target}: expected a folder or nothing, found a file")
    if os.path.ismount(target):
        raise FileExistsError(f"{target}: expected a folder that may be replaced, found a mount point: name one in it")
    for entry in _other_entries(target, is_ours):
        if entry.is_dir() and not entry.is_symlink():
            raise FileExistsError(
                f"{target}: expected a folder that may be replaced, found the folder {entry.name} in it"
            )


def remove_unfinished(target: Path) -> None:
    """Remove what killed writers of `target` left; put back an old folder that one of them moved away."""
    for leftover in target.parent.glob(f".{glob.escape(target.name)}.replaced-*"):
        if target.exists():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.rename(target)
    for leftover in target.parent.glob(f".{glob.escape(target.name)}.building-*"):
        if _is_abandoned(leftover):
            shutil.rmtree(leftover, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Flush every file below the folder, and the folder itself, to disk."""
    for root, _, names in os.walk(folder):
        for name in names:
            if not (path := Path(root, name)).is_symlink():
                sync_entry(path)
        sync_entry(Path(root))


def sync_entry(path: Path) -> None:
    """Flush one file or folder to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_file_atomically(target: Path, content: bytes) -> None:
    """Replace one file atomically, synced to disk. Raises `OSError` if the disk is full; the old file stays."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        replace_file(target, content)
        sync_entry(target.parent)
    except OSError as error:
        raise _clear_error(error, target) from error


def replace_file(target: Path, content: bytes) -> None:
    """Replace one file atomically. Its content is synced to disk; syncing its folder is left to the caller.

    Raises `OSError`; then the old file stays.
    """
    new = target.with_name(f".{target.name}.building-{uuid4().hex[:8]}")
    try:
        with new.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        new.replace(target)
    except OSError:
        with suppress(OSError):
            new.unlink(missing_ok=True)
        raise


def _is_abandoned(folder: Path) -> bool:
    """Whether no writer is left: a running one holds a lock on its folder."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _mode_of(place: Path) -> int:
    return place.stat().st_mode & 0o7777 if place.exists() else 0o777 & ~_umask()


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _other_entries(folder: Path, is_ours: Callable[[str], bool] | None) -> Iterator[Path]:
    if is_ours is not None and folder.is_dir():
        yield from (entry for entry in sorted(folder.iterdir()) if not is_ours(entry.name))


def _keep_other_entries(old: Path, new: Path, is_ours: Callable[[str], bool] | None) -> None:
    for entry in _other_entries(old, is_ours):
        try:
            os.link(entry, new / entry.name, follow_symlinks=False)
        except OSError:  # a file system without hard links
            shutil.copy2(entry, new / entry.name, follow_symlinks=False)


def _swap(new: Path, place: Path) -> None:
    """Put `new` in place; an old folder is moved to where the new one was, or removed."""
    if not place.exists():
        new.rename(place)
    elif not _exchange(new, place):
        old = Path(tempfile.mkdtemp(prefix=f".{place.name}.replaced-", dir=place.parent))
        place.rename(old)
        new.rename(place)
        shutil.rmtree(old, ignore_errors=True)


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two names atomically (Linux); False if the system or the file system cannot."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    if rename(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _NO_EXCHANGE:
        return False
    raise OSError(code, os.strerror(code), str(second))


def _clear_error(error: OSError, target: Path) -> OSError:
    """A full disk as one sentence; any other error unchanged."""
    if error.errno not in DISK_FULL:
        return error
    return OSError(error.errno, f"{os.strerror(error.errno)}: {target} could not be written and is as it was before")
