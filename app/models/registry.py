"""The model registry: a folder of model folders, and small files that name the ones that serve. Loads nothing.

`LIVE` and `SHADOW` each contain the name of one folder beside them, `SPLIT` a name and a share of the users,
`PREVIOUS` the name that `LIVE` contained before. While `LIVE` changes, `PREVIOUS` keeps its old name in a second line,
so that a crash loses neither. Every worker of every replica reads the files each second, so writing one (by a command,
a route or `cp`) changes all workers. If the path of the settings is itself a model folder, the registry has only that
model, and nothing can be changed.
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
    """One model folder as its manifest describes it. `metrics` are those of training; `lacks`: files of the
    manifest that do not exist (yet)."""

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
        """The missing files, as a reason."""
        return f"it lacks {', '.join(self.lacks)}" if self.lacks else None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A folder that should be a model but cannot be read as one, and why."""

    folder: Path
    name: str
    reason: str


class ModelRegistry:
    """The models below one path, and the files that name the ones that serve."""

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
        """The folder that `LIVE` or `SHADOW` names, whether it exists or not; None = it names none."""
        name = self._read_name(file)
        return None if name is None else self._folder(name)

    def name_of(self, folder: Path) -> str:
        """The name of a folder in these files."""
        return os.path.relpath(folder, self.path)

    def shadow(self) -> Path | None:
        """The folder of the shadow model; None = none."""
        return self.named(SHADOW)

    def split(self) -> tuple[Path, float] | None:
        """The folder of the challenger, and its share of the users; None = all users get the live model, also if the
        file contains no share between 0 and 1."""
        name, _, share = (self._read_name(SPLIT) or "").rpartition(" ")
        try:
            value = float(share)
        except ValueError:
            return None
        return (self._folder(name.strip()), value) if name and 0 < value < 1 else None

    def versions(self) -> list[Version]:
        """All models, sorted by name, without folders whose manifest cannot be read."""
        return [entry for entry in self.contents() if isinstance(entry, Version)]

    def unreadable(self) -> list[Unreadable]:
        """All folders that have a manifest, or are named as a model, but cannot be read as one."""
        return [entry for entry in self.contents() if isinstance(entry, Unreadable)]

    def contents(self) -> list[Version | Unreadable]:
        """All models and unreadable folders, sorted by name."""
        named = {self.named(LIVE), self.named(SHADOW), (self.split() or (None,))[0]} - {None}
        folders = {*_folders(self.path), *(folder for folder in named if folder is not None)}
        return [self._read_entry(folder) for folder in sorted({self.path} if self.single else folders)]

    def find(self, wanted: str) -> Version:
        """The model with this folder name, else with this version. Raises `ModelNotFoundError`."""
        return self._matching(wanted)[0]

    def find_live(self, wanted: str) -> Version:
        """The live model, which must have this name or version. Raises `ModelNotFoundError`, and `ModelConflictError`
        if another model is live."""
        matching, live = self._matching(wanted), self.named(LIVE)
        for version in matching:
            if version.folder == live:
                return version
        names = "names nothing" if live is None else f"names {live.name}"
        raise ModelConflictError(f"{matching[0].version} is not live: {LIVE} {names}")

    def activate(self, wanted: str, instead_of: Version | None = None) -> Version:
        """Name a model in `LIVE`, and the one before it in `PREVIOUS`; ends a split. Raises `ModelConflictError` if the
        path is a single model, and if `instead_of` is given and not live (any more)."""
        version = self.find(wanted)
        self._check_not_single()
        with locked(self.path):
            live = self.named(LIVE)
            if instead_of is not None and live != instead_of.folder:
                raise ModelConflictError(f"{instead_of.version} is not live any more: another process moved {LIVE}")
            if live != version.folder:
                self._go_live(version.name)
            remove(self.path / SPLIT)
        return version

    def previous(self) -> Version:
        """The previous live model. Raises `ModelConflictError` if there is none."""
        self._check_not_single()
        live = self.named(LIVE)
        for name in read_lines(self.path / PREVIOUS):
            if self._folder(name) != live:
                return self.find(name)
        raise ModelConflictError("no model served before this one: there is nothing to go back to")

    def set_shadow(self, wanted: str) -> Version:
        """Name a model in `SHADOW`."""
        self._check_not_single()
        version = self.find(wanted)
        with locked(self.path):
            replace(self.path / SHADOW, version.name)
        return version

    def clear_shadow(self, wanted: str) -> Version:
        """Remove the shadow model. Raises `ModelConflictError` if `wanted` is not the shadow model."""
        matching = self._matching(wanted)
        with locked(self.path):
            for version in matching:
                if version.folder == self.shadow():
                    remove(self.path / SHADOW)
                    return version
        raise ModelConflictError(f"{matching[0].version} is not the shadow")

    def split_users(self, wanted: str, share: float) -> Version:
        """Name a model and its share of the users in `SPLIT`. Raises `ModelConflictError` if it is live."""
        if not 0 < share < 1:
            raise ValueError(f"a share is above 0 and below 1, got {share:g}")
        self._check_not_single()
        version = self.find(wanted)
        with locked(self.path):
            if self.named(LIVE) == version.folder:
                raise ModelConflictError(f"{version.version} is live: it takes all users that no other model takes")
            replace(self.path / SPLIT, f"{version.name} {share}")
        return version

    def unsplit(self, wanted: str | None = None) -> None:
        """End the split: all users get the live model. Raises `ModelConflictError` if there is no split, or `wanted` is
        not its challenger."""
        matching = [] if wanted is None else self._matching(wanted)
        with locked(self.path):
            split = self.split()
            if matching and (split is None or split[0] not in [version.folder for version in matching]):
                raise ModelConflictError(f"{matching[0].version} takes no share of the users")
            if not remove(self.path / SPLIT):
                raise ModelConflictError("users are not split")

    def _go_live(self, name: str) -> None:
        """Write `PREVIOUS` first, and keep its old name until `LIVE` is written: after a crash at any point, it names a
        model that served before the one in `LIVE`."""
        before, earlier = self._read_name(LIVE), read_lines(self.path / PREVIOUS)[:1]
        if before is None:
            replace(self.path / LIVE, name)
            return
        replace(self.path / PREVIOUS, before, *earlier)
        replace(self.path / LIVE, name)
        if earlier:
            with contextlib.suppress(ModelsUnwritableError):  # the second line is harmless
                replace(self.path / PREVIOUS, before)

    def _matching(self, wanted: str) -> list[Version]:
        versions = self.versions()
        by_name = [version for version in versions if wanted == version.name]
        matching = by_name or [version for version in versions if wanted == version.version]
        if not matching:
            known = ", ".join(version.version for version in versions) or "none"
            raise ModelNotFoundError(f"there is no model '{wanted}'; there are {known}")
        return matching

    def _check_not_single(self) -> None:
        if self.single:
            raise ModelConflictError(f"{self.path} is one model: name a folder of models to move between them")

    def _read_entry(self, folder: Path) -> Version | Unreadable:
        try:
            return self._read_version(folder)
        except FileNotFoundError:
            reason = f"it holds no {MANIFEST}" if folder.is_dir() else "it is not there"
        except OSError as error:
            reason = f"{MANIFEST}: {error.strerror or error}"
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            reason = f"{MANIFEST} is not that of a model: {_manifest_fault(error)}"
        return Unreadable(folder, self.name_of(folder), reason)

    def _read_version(self, folder: Path) -> Version:
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

    def _read_name(self, file: str) -> str | None:
        return next(iter(read_lines(self.path / file)), None)


def _folders(path: Path) -> Iterator[Path]:
    """All folders below `path` that have a manifest or cannot be read, except hidden ones: they are being written."""
    unreadable: list[Path] = []
    for parent, folders, files in os.walk(path, onerror=lambda error: unreadable.append(Path(error.filename))):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if MANIFEST in files:
            yield Path(parent)
    yield from (folder for folder in unreadable if folder != path and folder.name != "lost+found")


def _manifest_fault(error: Exception) -> str:
    return f"it lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())[:200]
