"""A model is on disk whole or not at all, a place that cannot take one is refused first, a stopped run goes on.

Full disks are played by a limit on the size of files.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.artefact import build as artefact_build
from model.artefact.build import build
from model.artefact.manifest import ArtefactError
from model.artefact.model import Artefact
from model.artefact.output_folder import check_writable
from model.artefact.reading import read
from model.artefact.writing import write
from model.config import Config
from model.datasets import atomic_writes
from model.datasets.dataset import Dataset
from model.learning import checkpoint
from model.learning.checkpoint import CheckpointError


class Stopped(BaseException):
    """The process is killed here; nothing may catch it."""


@pytest.fixture
def quick(small_config: Config) -> Config:
    few = replace(
        small_config.training, steps=4, contexts_per_step=6, negatives=4, evaluations=4, validation_rankings=4, folds=2
    )
    return replace(small_config, training=few)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Every write beyond it fails, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


# ---- written whole ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 300, 5_000, 60_000, 200_000])
def test_a_full_disk_leaves_the_old_model_and_says_so_in_one_line(model_path: Path, tmp_path: Path, size: int) -> None:
    out = tmp_path / "model"
    shutil.copytree(model_path, out)
    contents, old = read(out), content(out)
    with files_of_at_most(size), pytest.raises((ArtefactError, OSError), match="could not be written") as caught:
        write(out, contents, "new")
    assert "\n" not in str(caught.value)
    assert content(out) == old
    assert names(tmp_path) == {"model"}
    assert Artefact.load(out).version == contents.manifest.version


@pytest.mark.parametrize("exchange", [True, False], ids=["exchange", "two renames"])
def test_killed_anywhere_while_writing_there_is_the_old_model_or_the_new_one(
    model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    """At every sync and every rename in turn, nothing after it happens, not even a clean-up."""
    contents = read(model_path)
    if not exchange:
        monkeypatch.setattr(atomic_writes, "_exchange", lambda first, second: False)
    for moment in range(100):
        out = tmp_path / str(moment) / "model"
        shutil.copytree(model_path, out)
        with monkeypatch.context() as patch:
            stopped = _stopping(patch, moment)
            with suppress(Stopped):
                write(out, contents, "new")
        _let_go(out)
        check_writable(out)  # what comes next
        version = Artefact.load(out).version
        assert version.startswith("new-") or version == contents.manifest.version
        assert names(out.parent) == {"model"}
        if not stopped():
            assert version.startswith("new-")
            return
    pytest.fail("never ran to its end")


def _stopping(patch: pytest.MonkeyPatch, moment: int) -> Callable[[], bool]:
    """Let so many file operations through; the next one and all after it raise."""
    calls = 0

    def wrapped(original: Callable[..., object]) -> Callable[..., object]:
        def operation(*arguments: object, **named: object) -> object:
            nonlocal calls
            calls += 1
            if calls > moment:
                raise Stopped
            return original(*arguments, **named)

        return operation

    patch.setattr(os, "fsync", wrapped(os.fsync))
    patch.setattr(Path, "rename", wrapped(Path.rename))
    patch.setattr(atomic_writes, "_exchange", wrapped(atomic_writes._exchange))
    patch.setattr(shutil, "rmtree", wrapped(shutil.rmtree))
    return lambda: calls > moment


def _let_go(out: Path) -> None:
    """Close what a killed process would no longer hold: the lock of its folder."""
    for opened in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if os.readlink(f"/proc/self/fd/{opened}").startswith(str(out.parent)):
                os.close(int(opened))


def test_files_and_folders_are_synced_before_the_name_is_given(
    model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(opened: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{opened}"))
        real(opened)

    monkeypatch.setattr(os, "fsync", fsync)
    write(tmp_path / "model", read(model_path), "new")
    assert {Path(path).name for path in synced} >= names(tmp_path / "model")
    assert synced[-1] == str(tmp_path)


# ---- tried first --------------------------------------------------------------------------------------------


def unwritable(tmp_path: Path) -> list[tuple[str, Path]]:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work")
    return [
        ("a file", tmp_path / "file"),
        ("below a file", tmp_path / "file" / "model"),
        ("a folder of others", tmp_path / "full"),
        ("a mount point", Path("/proc/self")),
        ("nobody may write", Path("/proc/1/model")),
        ("too long", tmp_path / ("n" * 300)),
    ]


@pytest.mark.parametrize("case", range(6))
def test_a_place_that_takes_no_model_is_refused_before_any_work(
    world: Dataset, quick: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: int
) -> None:
    monkeypatch.setattr(artefact_build, "prepare", _too_late)
    _, out = unwritable(tmp_path)[case]
    with pytest.raises((ArtefactError, OSError)) as caught:
        build(world, out, quick)
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == {"file", "full"}


def _too_late(*_: object, **__: object) -> None:
    pytest.fail("work had begun")


def test_a_full_disk_is_found_before_any_work(
    world: Dataset, quick: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artefact_build, "prepare", _too_late)
    with files_of_at_most(1_000), pytest.raises(ArtefactError, match="no model can be written there"):
        build(world, tmp_path / "model", quick)
    assert not names(tmp_path)


def test_what_a_killed_writing_left_is_removed_at_the_next_training(tmp_path: Path) -> None:
    for name in (".model.building", ".model.building-x1", ".a[b].building-x1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights.safetensors").write_bytes(bytes(10))
    check_writable(tmp_path / "model")
    check_writable(tmp_path / "a[b]")
    assert not names(tmp_path)


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path: Path) -> None:
    small, large = ({"now": {"w": torch.zeros(size)}} for size in (1, 100_000))
    checkpoint.save(tmp_path, small, {"state": {}}, {"step": 1})
    with files_of_at_most(10_000), pytest.raises(CheckpointError, match="no checkpoint could be written") as caught:
        checkpoint.save(tmp_path, large, {"state": {}}, {"step": 2})
    assert "\n" not in str(caught.value)
    assert checkpoint.load(tmp_path, {"param_groups": []}).position == {"step": 1}
    assert names(tmp_path) == {checkpoint.TENSORS}


# ---- resumed ------------------------------------------------------------------------------------------------


def stopping_at(steps: int) -> Callable[[int, int, str], None]:
    """A report that stops after so many steps of both trainings together."""
    done = 0

    def report(step: int, of: int, note: str) -> None:
        nonlocal done
        done += note.startswith("loss")
        if done == steps:
            raise Stopped

    return report


def test_a_run_over_all_parts_goes_on_wherever_it_was_stopped(world: Dataset, quick: Config, tmp_path: Path) -> None:
    whole = build(world, tmp_path / "whole", quick, every_part=True)
    done = 0

    def counting(step: int, of: int, note: str) -> None:
        nonlocal done
        done += note.startswith("loss")

    last = 4 + whole.metrics["best_step"]
    for step in (3, 5, last):  # in the first training, at the first step of the second, at its last
        out = tmp_path / f"stopped-{step}"
        with pytest.raises(Stopped):
            build(world, out, quick, every_part=True, report=stopping_at(step))
        resumed = build(world, out, quick, every_part=True, resume=True, report=counting)
        assert resumed.version == whole.version
        assert resumed.calibration == whole.calibration
        assert not (tmp_path / f".{out.name}.training").exists()
    assert done < 3 * (4 + whole.metrics["best_step"])  # some of each was done before it stopped


def test_a_checkpoint_of_another_run_is_refused_in_a_sentence(world: Dataset, quick: Config, tmp_path: Path) -> None:
    for every_part, step in ((False, 3), (True, 5)):
        out = tmp_path / f"model-{every_part}"
        with pytest.raises(Stopped):
            build(world, out, quick, every_part=every_part, report=stopping_at(step))
        other = replace(world, entities=[{**world.entities[0], "display_name": "Another"}, *world.entities[1:]])
        with pytest.raises(CheckpointError, match="of another run: dataset 'simulated"):
            build(other, out, quick, every_part=every_part, resume=True)
        with pytest.raises(CheckpointError, match=r"of another run: config\.seed 0, now 7"):
            build(world, out, replace(quick, seed=7), every_part=every_part, resume=True)
        build(world, out, quick, every_part=every_part, resume=True)
