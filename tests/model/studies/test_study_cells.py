"""A cell of a study is run once, kept whole, and run again when anything that shapes it changes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model.studies.cells import Cell, CellStore, fingerprint


def counted(calls: list[str], name: str, settings: Mapping[str, Any]) -> Cell:
    return Cell(name, settings, 1.0, lambda: calls.append(name) or {"protocols": {}})  # type: ignore[func-returns-value]


def test_a_cell_runs_once_and_again_when_anything_of_it_changes(tmp_path: Path) -> None:
    calls: list[str] = []
    store = CellStore(tmp_path, "data")
    first = store.get(counted(calls, "ease", {"ridge": 1}))
    assert store.get(counted(calls, "ease", {"ridge": 1})) == first
    assert calls == ["ease"]
    store.get(counted(calls, "ease", {"ridge": 2}))
    store.get(counted(calls, "knn", {"ridge": 1}))
    CellStore(tmp_path, "other data").get(counted(calls, "ease", {"ridge": 1}))
    assert calls == ["ease", "ease", "knn", "ease"]


def test_a_cell_cut_short_is_run_again(tmp_path: Path) -> None:
    calls: list[str] = []
    store = CellStore(tmp_path, "data")
    store.get(counted(calls, "ease", {}))
    (written,) = tmp_path.iterdir()
    whole = written.read_bytes()
    for number, broken in enumerate((whole[:-5], whole[:9], b"", whole[:20] + b"garbage" + whole[27:]), start=2):
        written.write_bytes(broken)
        store.get(counted(calls, "ease", {}))
        assert calls == ["ease"] * number
    store.get(counted(calls, "ease", {}))
    assert len(calls) == 5


def test_time_left_counts_the_missing_cells(tmp_path: Path) -> None:
    store = CellStore(tmp_path, "data")
    cells = [counted([], name, {}) for name in ("a", "b", "c")]
    store.get(cells[1])
    assert store.missing_seconds(cells) == 2.0


def test_the_fingerprint_is_of_what_is_in_the_files(world_path: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(world_path, tmp_path / "copy")
    assert fingerprint(copy) == fingerprint(world_path)
    with (copy / "events.jsonl").open("a") as stream:
        stream.write("\n")
    assert fingerprint(copy) != fingerprint(world_path)
