"""Stamps, which change when any file below a model folder changes. Reads no file contents and judges nothing."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Stamp:
    """The state of a folder. `token` changes when any file below it changes its size, time or inode."""

    folder: Path
    token: str


def stamp_of(folder: Path, exclude: Path | None = None) -> Stamp:
    """The stamp of a folder, without hidden files and the folder `exclude`: a service may write there.

    Raises `OSError` if the folder cannot be read.
    """
    digest = hashlib.sha256()
    os.scandir(folder).close()  # os.walk raises nothing for a missing folder
    for path in sorted(_files(folder, exclude)):
        name = os.path.relpath(path, folder)  # the same wherever the folder is mounted
        digest.update(f"{name}\0{_state(path)}\n".encode("utf-8", "surrogateescape"))
    return Stamp(folder, digest.hexdigest())


def _state(path: str) -> str:
    """Size, time and inode of a file; links are followed. Empty for a dangling link."""
    try:
        status = os.stat(path)
    except OSError:
        return ""
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ino}"


def _files(folder: Path, exclude: Path | None) -> Iterator[str]:
    excluded = None if exclude is None else os.path.abspath(exclude)
    for parent, folders, files in os.walk(os.path.abspath(folder)):
        folders[:] = [name for name in folders if name[0] != "." and os.path.join(parent, name) != excluded]
        yield from (os.path.join(parent, name) for name in files if not name.startswith("."))
