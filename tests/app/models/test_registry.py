"""The files that name models: written whole or not at all, one writer at a time, and `PREVIOUS` right after any crash;
what should be a model and is none is listed with the reason.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.errors import ModelConflictError, ModelsUnwritableError
from app.models import pointers
from app.models.pointers import locked, read_lines, replace
from app.models.registry import LIVE, MANIFEST, PREVIOUS, SPLIT, ModelRegistry


def put(folder: Path, *names: str, version: str = "", files: tuple[str, ...] = ()) -> None:
    """Folders with a manifest and nothing else."""
    for name in names:
        (folder / name).mkdir(parents=True)
        table = {"version": version or f"{name}-v", "checksum": "c", "tasks": ["search"], "dataset": {"name": "d"}}
        (folder / name / MANIFEST).write_text(json.dumps({**table, "metrics": {}, "files": dict.fromkeys(files, "")}))


@pytest.fixture
def registry(tmp_path: Path) -> ModelRegistry:
    put(tmp_path, "one", "two", "three")
    (tmp_path / LIVE).write_text("one\n")
    return ModelRegistry(tmp_path)


class Crashed(BaseException):
    """The power fails."""


def crash_after(writes: int) -> Callable[..., None]:
    """`replace`, until so many files are written."""
    left = iter(range(writes))

    def replaced(file: Path, *lines: str) -> None:
        if next(left, None) is None:
            raise Crashed
        replace(file, *lines)

    return replaced


@pytest.mark.parametrize("writes", [0, 1, 2, 3])
def test_a_crash_between_two_files_loses_no_model(
    registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    registry.activate("two")
    monkeypatch.setattr("app.models.registry.replace", crash_after(writes))
    try:
        registry.activate("three")
    except Crashed:
        assert writes < 3
    went = writes >= 2
    assert (registry.live().name, registry.previous().name) == (("three", "two") if went else ("two", "one"))
    monkeypatch.undo()
    registry.activate("one")
    assert (registry.live().name, registry.previous().name) == ("one", "three" if went else "two")
    assert read_lines(registry.path / PREVIOUS) == ["three" if went else "two"]


def test_a_full_disk_is_a_clear_problem_and_moves_nothing(
    registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.split_users("three", 0.5)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pointers.os, "fsync", full)
    with pytest.raises(ModelsUnwritableError, match="nothing was moved: No space left on device"):
        registry.activate("two")
    with pytest.raises(ModelsUnwritableError, match="SHADOW cannot be written"):
        registry.set_shadow("two")
    assert (registry.live().name, registry.shadow(), registry.split()) == ("one", None, (registry.path / "three", 0.5))
    assert not list(registry.path.glob(".*"))


def test_a_file_is_synced_before_it_is_renamed_and_its_folder_after(
    registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sync, rename = os.fsync, Path.replace

    def synced(handle: int) -> None:
        done.append("folder" if os.path.isdir(f"/proc/self/fd/{handle}") else "file")
        sync(handle)

    def renamed(self: Path, target: Path) -> Path:
        done.append(f"rename {target.name}")
        return rename(self, target)

    monkeypatch.setattr(pointers.os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    registry.activate("two")
    assert done == ["file", "rename PREVIOUS", "folder", "file", "rename LIVE", "folder"]


def test_who_comes_second_sees_what_the_first_has_written(registry: ModelRegistry) -> None:
    """Two who leave the same model for others: one of them does, whoever is first."""
    one = registry.find("one")

    def move(name: str) -> str:
        try:
            return registry.activate(name, instead_of=one).name
        except ModelConflictError:
            return ""

    with ThreadPoolExecutor(8) as pool:
        moved = [name for name in pool.map(move, ["two", "three"] * 8) if name]
    assert moved == [registry.live().name]
    assert registry.previous() == one


def test_a_lock_that_is_never_released_is_said(registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pointers, "_LOCK_TIMEOUT_S", 0.05)
    with locked(registry.path), pytest.raises(ModelsUnwritableError, match="another process is moving models"):
        registry.activate("two")
    assert registry.activate("two").name == "two"


def test_rollback_asks_the_file_whatever_is_spelt_there(registry: ModelRegistry) -> None:
    registry.activate("two")
    (registry.path / LIVE).write_text("./two/\n")
    assert registry.find_live("two-v").name == "two"
    with pytest.raises(ModelConflictError, match="one-v is not live: LIVE names two"):
        registry.find_live("one")
    with pytest.raises(ModelConflictError, match="is live"):
        registry.split_users("two", 0.5)


def test_the_live_one_of_two_copies_is_the_one_that_is_named(tmp_path: Path) -> None:
    put(tmp_path, "a/films", "b/films", version="films-1")
    registry = ModelRegistry(tmp_path)
    (tmp_path / LIVE).write_text("b/films\n")
    assert registry.find_live("films-1").name == "b/films"
    assert registry.activate("a/films").folder == tmp_path / "a/films"
    assert registry.previous().name == "b/films"


def test_what_should_be_a_model_and_is_none_is_listed_with_the_reason(registry: ModelRegistry) -> None:
    (registry.path / "broken").mkdir()
    (registry.path / "broken" / MANIFEST).write_text('{"version": "x')
    put(registry.path, "half", files=("weights.safetensors",))
    (registry.path / SPLIT).write_text("gone 0.5\n")
    (registry.path / ".two.building").mkdir()
    (registry.path / ".two.building" / MANIFEST).write_text("{}")
    said = {found.name: found.reason for found in registry.unreadable()}
    assert list(said) == ["broken", "gone"]
    assert "manifest.json is not that of a model: Unterminated string" in said["broken"]
    assert said["gone"] == "it is not there"
    assert registry.find("half").incomplete == "it lacks weights.safetensors"
    assert registry.find("one").incomplete is None
