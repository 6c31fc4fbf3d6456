"""The benchmark of retrieval gives every figure for small models, and its tables show them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.commands import bench
from bench.catalogue import make
from bench.retrieval import measure, run, tables, timed


def test_a_model_is_measured(model_path: Path) -> None:
    found = measure(model_path, 0.02)
    assert found["entities"] == 120
    assert found["index"] == "exact"
    assert found["recall@100"] == 1.0
    assert found["own_memory_mb"] > 10
    assert found["bytes_per_entity"]["all"] > found["bytes_per_entity"]["index"] > 0
    for name in ("dense", "exact", "lexical", "propose"):
        assert 0 < found[name]["p50_ms"] <= found[name]["p99_ms"]


def test_the_first_searches_do_not_count() -> None:
    asked: list[int] = []
    found = timed(asked.append, [1, 2, 3], 0.01)
    assert asked[:4] == [1, 2, 3, 1]
    assert len(asked) > 20
    assert found["p50_ms"] is not None


def test_several_models_by_the_command(model_path: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    assert CliRunner().invoke(bench.app, ["catalogue", str(model_path), str(made), "--entities", "300"]).exit_code == 0
    command = [
        "retrieval",
        str(made),
        str(model_path),
        "--out",
        str(tmp_path / "out"),
        "--seconds",
        "0.1",
        "--core",
        "0",
    ]
    ended = CliRunner().invoke(bench.app, command)
    assert ended.exit_code == 0, ended.output
    result = json.loads((tmp_path / "out" / "retrieval.json").read_text())
    assert [one["entities"] for one in result["models"]] == [300, 120]
    speed, size = tables(result)
    assert [row[0] for row, _ in speed.rows] == [row[0] for row, _ in size.rows] == ["120", "300"]
    assert {len(row) for row, _ in speed.rows} == {len(speed.head)}
    assert {len(row) for row, _ in size.rows} == {len(size.head)}


def test_a_folder_that_is_no_model_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a model"):
        run([tmp_path], tmp_path, 0.1, 0, lambda _: None)


def test_a_catalogue_is_made_with_progress(model_path: Path, tmp_path: Path) -> None:
    seen: list[int] = []
    make(model_path, tmp_path / "made", 130, report=lambda step, total, note: seen.append(step))
    assert seen == [130, 130]
