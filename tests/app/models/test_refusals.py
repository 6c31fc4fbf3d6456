"""Stamps and refusals: any change below a folder is seen; a folder that fails is left alone for longer each time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from app_fakes import Clock

from app.models.refusals import Refusals
from app.models.stamps import stamp_of

CHANGES: dict[str, Callable[[Path], object]] = {
    "size": lambda folder: (folder / "weights").write_text("longer than before"),
    "time": lambda folder: os.utime(folder / "weights", ns=(1, 1)),
    "inode": lambda folder: (
        shutil.copy2(folder / "weights", folder / "w") and (folder / "w").replace(folder / "weights")
    ),
    "one more": lambda folder: (folder / "part" / "more").write_text(""),
    "one less": lambda folder: (folder / "weights").unlink(),
    "a link that leads somewhere now": lambda folder: (folder.parent / "later").write_text(""),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_any_change_below_a_folder_is_another_stamp(tmp_path: Path, change: Callable[[Path], object]) -> None:
    folder = tmp_path / "model"
    (folder / "part").mkdir(parents=True)
    (folder / "weights").write_text("weights")
    (folder / "link").symlink_to(tmp_path / "later")
    before = stamp_of(folder)
    assert stamp_of(folder) == before
    change(folder)
    assert stamp_of(folder) != before


def test_what_a_service_writes_itself_is_no_change(tmp_path: Path) -> None:
    (tmp_path / "state" / "events").mkdir(parents=True)
    before = stamp_of(tmp_path, tmp_path / "state")
    (tmp_path / "state" / "events" / "0").write_text("event")
    (tmp_path / ".workers").mkdir()
    (tmp_path / ".workers" / "1.json").write_text("{}")
    assert stamp_of(tmp_path, tmp_path / "state") == before
    with pytest.raises(FileNotFoundError):
        stamp_of(tmp_path / "nothing")


def pauses(change: bool, took_s: float) -> list[float]:
    """How long a folder that fails again and again is left alone each time."""
    clock, found = Clock(), []
    refusals = Refusals(clock)
    stamps = [stamp_of(Path(__file__).parent)]
    stamps.append(type(stamps[0])(stamps[0].folder, "another") if change else stamps[0])
    for _ in range(9):
        since = clock.now
        clock.now += took_s
        refusals.note(stamps[0], "why", since)
        began = clock.now
        while refusals.waits(stamps[1]):
            clock.now += 0.25
        found.append(clock.now - began)
    return found


def test_a_folder_that_fails_is_left_alone_for_longer_each_time() -> None:
    assert pauses(True, 0.0) == [0.5, 1, 2, 4, 4, 4, 4, 4, 4]
    assert pauses(True, 3.0) == [12] * 9  # what takes long is done for a fifth of the time at most
    assert pauses(False, 0.0) == [30, 60, 120, 240, 480, 600, 600, 600, 600]
