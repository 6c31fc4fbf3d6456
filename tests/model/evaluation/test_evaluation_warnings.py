"""`evaluate` says where its figures mean little: nothing shared with the model, or rows that it was trained on."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from app.cli import main
from model.artefact.model import Artefact
from model.datasets.dataset import Dataset
from model.evaluation.reports import evaluate_artefact
from model.learning.trained_rows import SAMPLE, TrainedRows, fingerprint


def warnings_of(artefact: Artefact, dataset: Dataset) -> dict[str, dict[str, object]]:
    found = evaluate_artefact(artefact, dataset).get("warnings", [])
    assert all("\n" not in entry["detail"] for entry in found)
    return {entry["code"]: entry for entry in found}


def with_part(world: Dataset, part: str | None) -> Dataset:
    return replace(world, events=world.events.with_columns(part=pl.lit(part, pl.String)))


def renamed(world: Dataset, column: str) -> Dataset:
    """The same with other ids of one kind."""
    if column == "user_id":
        return replace(world, events=world.events.with_columns(user_id="x" + pl.col("user_id")))
    entities = [{**entity, "entity_id": f"x{entity['entity_id']}"} for entity in world.entities]
    both = [("x" + pl.col(name)).alias(name) for name in ("entity_id", "source_entity_id")]
    return replace(world, entities=entities, events=world.events.with_columns(both))


def test_the_rows_under_test_of_the_same_dataset_are_no_reason_to_warn(artefact: Artefact, world: Dataset) -> None:
    assert "warnings" not in evaluate_artefact(artefact, world)


def test_rows_that_were_trained_on_are_told_with_their_share(artefact: Artefact, world: Dataset) -> None:
    trained = world.events.filter(pl.col("part") == "train")
    found = warnings_of(artefact, with_part(replace(world, events=trained), "test"))
    assert found["trained_on_rows"]["share"] == 1.0
    share = warnings_of(artefact, with_part(world, None))["trained_on_rows"]["share"]
    assert share == pytest.approx(len(trained) / len(world.events), abs=0.05)


def test_the_order_the_name_and_the_ids_of_a_copy_do_not_hide_it(artefact: Artefact, world: Dataset) -> None:
    shuffled = replace(world, name="copy", events=world.events.sample(fraction=1.0, shuffle=True, seed=1))
    assert "trained_on_rows" in warnings_of(artefact, with_part(shuffled, None))


def test_a_dataset_that_shares_no_entity_or_no_user_is_told(artefact: Artefact, world: Dataset) -> None:
    assert set(warnings_of(artefact, renamed(world, "entity_id"))) == {"no_shared_entities"}
    assert set(warnings_of(artefact, renamed(world, "user_id"))) == {"no_shared_users"}
    both = renamed(renamed(world, "user_id"), "entity_id")
    assert set(warnings_of(artefact, both)) == {"no_shared_entities", "no_shared_users"}
    nobody = replace(world, events=world.events.with_columns(user_id=pl.lit(None, pl.String)))
    assert "no_shared_users" not in warnings_of(artefact, nobody)


def test_a_model_of_an_earlier_release_is_evaluated_without_a_word(artefact: Artefact, world: Dataset) -> None:
    manifest = replace(artefact.contents.manifest, dataset={"name": "simulated", "parts": ["train"]})
    old = Artefact(replace(artefact.contents, manifest=manifest))
    assert not warnings_of(old, with_part(world, None))


def test_the_command_warns_on_standard_error_and_in_the_file(
    model_path: Path,
    world: Dataset,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, file = tmp_path / "copy", tmp_path / "new" / "report.json"
    shutil.copytree(world.path, folder)
    rows = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    (folder / "events.jsonl").write_text("".join(json.dumps(row | {"part": None}) + "\n" for row in rows))
    monkeypatch.setattr(sys, "argv", ["unirank", "evaluate", str(model_path), str(folder), "--json", str(file)])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    captured = capsys.readouterr()
    assert [line for line in captured.err.splitlines() if line.startswith("warning model ")]
    assert "warning" not in captured.out
    assert json.loads(file.read_text())["warnings"][0]["code"] == "trained_on_rows"


def test_a_report_that_cannot_be_written_is_refused_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("mine")
    for target in (tmp_path, tmp_path / "file" / "report.json"):
        monkeypatch.setattr(sys, "argv", ["unirank", "evaluate", "nowhere", "nowhere", "--json", str(target)])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 2
        assert str(tmp_path) in capsys.readouterr().err


# ---- the sample ---------------------------------------------------------------------------------------------


def rows(first: int, last: int) -> pl.DataFrame:
    ids = [f"r{number}" for number in range(first, last)]
    nothing = pl.Series([None] * len(ids), dtype=pl.String)
    return pl.DataFrame(
        {"ranking_id": ids, "task": "search", "user_id": nothing, "entity_id": "e", "timestamp": range(first, last)}
    )


def test_a_sample_of_many_rows_is_small_and_finds_a_share(world: Dataset) -> None:
    seen = TrainedRows.of(rows(0, 60_000))
    assert len(seen.sample) == SAMPLE
    assert TrainedRows.from_json(json.loads(json.dumps(seen.to_json()))).share(rows(0, 60_000)) == 1.0
    assert seen.share(rows(60_000, 90_000)) == 0.0
    assert seen.share(rows(30_000, 90_000)) == pytest.approx(0.5, abs=0.05)
    assert TrainedRows.of(rows(0, 0)).share(rows(0, 5)) == 0.0
    assert seen.share(rows(0, 0)) == 0.0


def test_the_hashes_are_the_same_in_every_release() -> None:
    assert TrainedRows.of(rows(0, 2)).to_json() == {"sample": "U/onjTsPRi0MlBvLgL+I2w==", "whole": True}


def test_a_null_and_an_empty_value_are_different_rows() -> None:
    empty = rows(0, 3).with_columns(user_id=pl.lit(""))
    assert TrainedRows.of(rows(0, 3)).share(empty) == 0.0


def test_the_fingerprint_tells_any_change(world: Dataset) -> None:
    whole = fingerprint(world)
    assert whole == fingerprint(replace(world, name="other"))
    first = world.events.head(1).with_columns(label=pl.col("label") + 1)
    changed = [
        replace(world, entities=world.entities[:-1]),
        replace(world, events=world.events[:-1]),
        replace(world, events=pl.concat([first, world.events[1:]])),
        replace(world, columns={**world.columns, "more": "text"}),
    ]
    assert len({whole, *map(fingerprint, changed)}) == 5
