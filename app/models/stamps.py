"""What changes when anything below a model folder does, without reading a byte of it. Judges nothing."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Stamp:
    """A folder as it is now. `token` differs once any file below it has another size, time or inode."""

    folder: Path
    token: str


def stamp_of(folder: Path, but: Path | None = None) -> Stamp:
    """The stamp of a folder. Hidden files, and what is below `but`, do not count: a service may write there.

    Raises `OSError` where the folder cannot be read.
    """
    digest = hashlib.sha256()
    os.scandir(folder).close()  # os.walk says nothing of a folder that is not there
    for path in sorted(_files(folder, but)):
        name = os.path.relpath(path, folder)  # the same wherever the folder is mounted
        digest.update(f"{name}\0{_state(path)}\n".encode("utf-8", "surrogateescape"))
    return Stamp(folder, digest.hexdigest())


def _state(path: str) -> str:
    """Of what a link leads to; empty while it leads nowhere."""
    try:
        found = os.stat(path)
    except OSError:
        return ""
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ino}"


def _files(folder: Path, but: Path | None) -> Iterator[str]:
    left_out = None if but is None else os.path.abspath(but)
    for parent, folders, files in os.walk(os.path.abspath(folder)):
        folders[:] = [name for name in folders if name[0] != "." and os.path.join(parent, name) != left_out]
        yield from (os.path.join(parent, name) for name in files if not name.startswith("."))
