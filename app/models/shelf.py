"""The shelf: a folder of model folders, and small files that say which of them serves. Loads nothing.

`LIVE`, `SHADOW` and `PREVIOUS` each hold the name of one folder beside them, `SPLIT` a name and a share of the users.
Every worker and every replica reads them each second, so whoever writes one (a command, a route, `cp`) moves all of
them. A settings path that is itself a model folder is a shelf of one: there is nothing to move.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from app.errors import ModelConflictError, ModelNotFoundError

MANIFEST = "manifest.json"
LIVE, SHADOW, PREVIOUS, SPLIT = "LIVE", "SHADOW", "PREVIOUS", "SPLIT"


@dataclass(frozen=True, slots=True)
class Version:
    """One model folder as its manifest describes it. `metrics` are those of training."""

    folder: Path
    name: str
    version: str
    checksum: str
    tasks: tuple[str, ...]
    dataset: str
    metrics: dict[str, object]


class Shelf:
    """The models below one path."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def single(self) -> bool:
        """Whether the path is one model instead of a folder of them."""
        return (self.path / MANIFEST).is_file()

    def live(self) -> Path:
        """The folder that should serve. Raises `ModelNotFoundError`."""
        if not self.path.is_dir():
            raise ModelNotFoundError(f"no model: {self.path} is not a folder")
        name = self._read(LIVE)
        folder = self.path if name is None else self.path / name
        if not (folder / MANIFEST).is_file():
            raise ModelNotFoundError(f"no model: {folder} holds no {MANIFEST}")
        return folder

    def shadow(self) -> Path | None:
        """The folder that answers beside the live one, unseen; None = none."""
        name = self._read(SHADOW)
        return None if name is None else self.path / name

    def split(self) -> tuple[Path, float] | None:
        """The folder that a share of the users gets instead of the live one, and that share; None = everybody gets
        the live one. So they do where the file says no share between 0 and 1."""
        name, _, share = (self._read(SPLIT) or "").rpartition(" ")
        try:
            part = float(share)
        except ValueError:
            return None
        return (self.path / name.strip(), part) if name and 0 < part < 1 else None

    def versions(self) -> list[Version]:
        """All models, by name. Folders whose manifest cannot be read are left out."""
        folders = [self.path] if self.single else sorted(file.parent for file in self.path.glob(f"**/{MANIFEST}"))
        found = []
        for folder in folders:
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
                found.append(self._version(folder))
        return found

    def find(self, wanted: str) -> Version:
        """The model of that version or folder name. Raises `ModelNotFoundError`."""
        versions = self.versions()
        for version in versions:
            if wanted in (version.version, version.name):
                return version
        known = ", ".join(version.version for version in versions) or "none"
        raise ModelNotFoundError(f"there is no model '{wanted}'; there are {known}")

    def activate(self, wanted: str) -> Version:
        """Name a model in `LIVE`, and the one before it in `PREVIOUS`; a split is over. Raises `ModelConflictError`
        on a single one."""
        found = self.find(wanted)
        self._movable()
        before = self._read(LIVE)
        if before != found.name:
            if before is not None:
                self._write(PREVIOUS, before)
            self._write(LIVE, found.name)
        (self.path / SPLIT).unlink(missing_ok=True)
        return found

    def previous(self) -> Version:
        """The model that served before. Raises `ModelConflictError` where there is none."""
        self._movable()
        name = self._read(PREVIOUS)
        if name is None:
            raise ModelConflictError("no model served before this one: there is nothing to go back to")
        return self.find(name)

    def cast_shadow(self, wanted: str) -> Version:
        """Name a model in `SHADOW`."""
        self._movable()
        found = self.find(wanted)
        self._write(SHADOW, found.name)
        return found

    def lift_shadow(self, wanted: str) -> Version:
        """No shadow any more. Raises `ModelConflictError` where that model is not the shadow."""
        found = self.find(wanted)
        if self.shadow() != found.folder:
            raise ModelConflictError(f"{found.version} is not the shadow")
        (self.path / SHADOW).unlink(missing_ok=True)
        return found

    def split_users(self, wanted: str, share: float) -> Version:
        """Name a model and its share of the users in `SPLIT`. Raises `ModelConflictError` where it is live."""
        if not 0 < share < 1:
            raise ValueError(f"a share is above 0 and below 1, got {share:g}")
        self._movable()
        found = self.find(wanted)
        if self._read(LIVE) == found.name:
            raise ModelConflictError(f"{found.version} is live: it takes all users that no other model takes")
        self._write(SPLIT, f"{found.name} {share}")
        return found

    def unsplit(self, wanted: str | None = None) -> None:
        """Everybody gets the live model again. Raises `ModelConflictError` where nothing, or not `wanted`, takes a
        share."""
        if wanted is not None:
            found, split = self.find(wanted), self.split()
            if split is None or split[0] != found.folder:
                raise ModelConflictError(f"{found.version} takes no share of the users")
        try:
            (self.path / SPLIT).unlink()
        except FileNotFoundError as error:
            raise ModelConflictError("users are not split") from error

    def _movable(self) -> None:
        if self.single:
            raise ModelConflictError(f"{self.path} is one model: name a folder of models to move between them")

    def _version(self, folder: Path) -> Version:
        table = json.loads((folder / MANIFEST).read_text("utf-8"))
        return Version(
            folder,
            str(folder.relative_to(self.path)),
            str(table["version"]),
            str(table["checksum"]),
            tuple(table["tasks"]),
            str(table["dataset"]["name"]),
            dict(table["metrics"]),
        )

    def _read(self, file: str) -> str | None:
        try:
            return (self.path / file).read_text("utf-8").strip() or None
        except OSError:
            return None

    def _write(self, file: str, name: str) -> None:
        """Replace the file as a whole, so that a reader sees the old name or the new one."""
        new = self.path / f".{file}.{uuid4().hex}"
        with new.open("w", encoding="utf-8") as stream:
            stream.write(f"{name}\n")
            stream.flush()
            os.fsync(stream.fileno())
        new.replace(self.path / file)
