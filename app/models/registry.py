"""The model registry: a folder of model folders, and small files that say which of them serves. Loads nothing.

`LIVE` and `SHADOW` each hold the name of one folder beside them, `SPLIT` a name and a share of the users, `PREVIOUS`
the name that `LIVE` held before; while that changes, the one before it stands in a second line, so that a crash in
between loses neither. Every worker and every replica reads them each second, so whoever writes one (a command, a
route, `cp`) moves all of them. A settings path that is itself a model folder is a registry of one: there is
nothing to move.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.errors import ModelConflictError, ModelNotFoundError, ModelsUnwritableError
from app.models.pointers import locked, read_lines, remove, replace

MANIFEST = "manifest.json"
LIVE, SHADOW, PREVIOUS, SPLIT = "LIVE", "SHADOW", "PREVIOUS", "SPLIT"


@dataclass(frozen=True, slots=True)
class Version:
    """One model folder as its manifest describes it. `metrics` are those of training; `lacks`: files that the
    manifest names and that are not there (yet)."""

    folder: Path
    name: str
    version: str
    checksum: str
    tasks: tuple[str, ...]
    dataset: str
    metrics: dict[str, object]
    lacks: tuple[str, ...] = ()

    @property
    def incomplete(self) -> str | None:
        """What is not there (yet), as a reason."""
        return f"it lacks {', '.join(self.lacks)}" if self.lacks else None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A folder that should be a model and cannot be read as one, and why."""

    folder: Path
    name: str
    reason: str


class ModelRegistry:
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
        folder = self.named(LIVE) or self.path
        if not (folder / MANIFEST).is_file():
            raise ModelNotFoundError(f"no model: {folder} holds no {MANIFEST}")
        return folder

    def named(self, file: str) -> Path | None:
        """The folder that `LIVE` or `SHADOW` names, be it there or not; None = it names none."""
        name = self._read(file)
        return None if name is None else self._folder(name)

    def name_of(self, folder: Path) -> str:
        """What the files call a folder."""
        return os.path.relpath(folder, self.path)

    def shadow(self) -> Path | None:
        """The folder of the shadow model, which is compared with the live one; None = none."""
        return self.named(SHADOW)

    def split(self) -> tuple[Path, float] | None:
        """The folder that a share of the users gets instead of the live one, and that share; None = everybody gets
        the live one. So they do where the file says no share between 0 and 1."""
        name, _, share = (self._read(SPLIT) or "").rpartition(" ")
        try:
            part = float(share)
        except ValueError:
            return None
        return (self._folder(name.strip()), part) if name and 0 < part < 1 else None

    def versions(self) -> list[Version]:
        """All models, by name. Folders whose manifest cannot be read are left out."""
        return [found for found in self.contents() if isinstance(found, Version)]

    def unreadable(self) -> list[Unreadable]:
        """All folders that have a manifest, or are named as a model, and cannot be read as one."""
        return [found for found in self.contents() if isinstance(found, Unreadable)]

    def contents(self) -> list[Version | Unreadable]:
        """All models and what should be one, by name."""
        named = {self.named(LIVE), self.named(SHADOW), (self.split() or (None,))[0]} - {None}
        folders = {*_folders(self.path), *(folder for folder in named if folder is not None)}
        return [self._entry(folder) for folder in sorted({self.path} if self.single else folders)]

    def find(self, wanted: str) -> Version:
        """The model of that folder name, else of that version. Raises `ModelNotFoundError`."""
        return self._matching(wanted)[0]

    def find_live(self, wanted: str) -> Version:
        """The model of that name or version, which is the one that `LIVE` names. Raises `ModelNotFoundError`, and
        `ModelConflictError` where it is not live."""
        matching, live = self._matching(wanted), self.named(LIVE)
        for version in matching:
            if version.folder == live:
                return version
        names = "names nothing" if live is None else f"names {live.name}"
        raise ModelConflictError(f"{matching[0].version} is not live: {LIVE} {names}")

    def activate(self, wanted: str, instead_of: Version | None = None) -> Version:
        """Name a model in `LIVE`, and the one before it in `PREVIOUS`; a split is over. Raises `ModelConflictError`
        on a single one, and where `instead_of` is given and not live (any more)."""
        found = self.find(wanted)
        self._movable()
        with locked(self.path):
            live = self.named(LIVE)
            if instead_of is not None and live != instead_of.folder:
                raise ModelConflictError(f"{instead_of.version} is not live any more: somebody else moved {LIVE}")
            if live != found.folder:
                self._go_live(found.name)
            remove(self.path / SPLIT)
        return found

    def previous(self) -> Version:
        """The model that served before. Raises `ModelConflictError` where there is none."""
        self._movable()
        live = self.named(LIVE)
        for name in read_lines(self.path / PREVIOUS):
            if self._folder(name) != live:
                return self.find(name)
        raise ModelConflictError("no model served before this one: there is nothing to go back to")

    def set_shadow(self, wanted: str) -> Version:
        """Name a model in `SHADOW`."""
        self._movable()
        found = self.find(wanted)
        with locked(self.path):
            replace(self.path / SHADOW, found.name)
        return found

    def clear_shadow(self, wanted: str) -> Version:
        """No shadow model any more. Raises `ModelConflictError` where that model is not the shadow."""
        matching = self._matching(wanted)
        with locked(self.path):
            for found in matching:
                if found.folder == self.shadow():
                    remove(self.path / SHADOW)
                    return found
        raise ModelConflictError(f"{matching[0].version} is not the shadow")

    def split_users(self, wanted: str, share: float) -> Version:
        """Name a model and its share of the users in `SPLIT`. Raises `ModelConflictError` where it is live."""
        if not 0 < share < 1:
            raise ValueError(f"a share is above 0 and below 1, got {share:g}")
        self._movable()
        found = self.find(wanted)
        with locked(self.path):
            if self.named(LIVE) == found.folder:
                raise ModelConflictError(f"{found.version} is live: it takes all users that no other model takes")
            replace(self.path / SPLIT, f"{found.name} {share}")
        return found

    def unsplit(self, wanted: str | None = None) -> None:
        """Everybody gets the live model again. Raises `ModelConflictError` where nothing, or not `wanted`, takes a
        share."""
        matching = [] if wanted is None else self._matching(wanted)
        with locked(self.path):
            split = self.split()
            if matching and (split is None or split[0] not in [found.folder for found in matching]):
                raise ModelConflictError(f"{matching[0].version} takes no share of the users")
            if not remove(self.path / SPLIT):
                raise ModelConflictError("users are not split")

    def _go_live(self, name: str) -> None:
        """`PREVIOUS` first, and it keeps what it held until `LIVE` is written: wherever this ends, it names a model
        that served before the one in `LIVE`."""
        before, earlier = self._read(LIVE), read_lines(self.path / PREVIOUS)[:1]
        if before is None:
            replace(self.path / LIVE, name)
            return
        replace(self.path / PREVIOUS, before, *earlier)
        replace(self.path / LIVE, name)
        if earlier:
            with contextlib.suppress(ModelsUnwritableError):  # the second line does no harm
                replace(self.path / PREVIOUS, before)

    def _matching(self, wanted: str) -> list[Version]:
        versions = self.versions()
        named = [version for version in versions if wanted == version.name]
        found = named or [version for version in versions if wanted == version.version]
        if not found:
            known = ", ".join(version.version for version in versions) or "none"
            raise ModelNotFoundError(f"there is no model '{wanted}'; there are {known}")
        return found

    def _movable(self) -> None:
        if self.single:
            raise ModelConflictError(f"{self.path} is one model: name a folder of models to move between them")

    def _entry(self, folder: Path) -> Version | Unreadable:
        try:
            return self._version(folder)
        except FileNotFoundError:
            reason = f"it holds no {MANIFEST}" if folder.is_dir() else "it is not there"
        except OSError as error:
            reason = f"{MANIFEST}: {error.strerror or error}"
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            reason = f"{MANIFEST} is not that of a model: {_why(error)}"
        return Unreadable(folder, self.name_of(folder), reason)

    def _version(self, folder: Path) -> Version:
        table = json.loads((folder / MANIFEST).read_text("utf-8"))
        files = [str(name) for name in table.get("files", ())]
        return Version(
            folder,
            self.name_of(folder),
            str(table["version"]),
            str(table["checksum"]),
            tuple(table["tasks"]),
            str(table["dataset"]["name"]),
            dict(table["metrics"]),
            tuple(sorted(name for name in files if not (folder / name).exists())),
        )

    def _folder(self, name: str) -> Path:
        return self.path / os.path.normpath(name)

    def _read(self, file: str) -> str | None:
        return next(iter(read_lines(self.path / file)), None)


def _folders(path: Path) -> Iterator[Path]:
    """All folders below with a manifest, and those that may not be read; hidden ones are being written."""
    closed: list[Path] = []
    for parent, folders, files in os.walk(path, onerror=lambda error: closed.append(Path(error.filename))):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if MANIFEST in files:
            yield Path(parent)
    yield from (folder for folder in closed if folder != path and folder.name != "lost+found")


def _why(error: Exception) -> str:
    return f"it lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())[:200]
