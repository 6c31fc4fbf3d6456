"""The models of a study on a small simulated world: joint, alone, tuned and ablated; and what the command writes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from app.cli import app
from model.config import Config
from model.context.context import HOMEPAGE, MORE_LIKE_THIS, SEARCH, Context, HistoryEvent
from model.context.imputation import MissingFieldError, fill
from model.datasets.dataset import Dataset
from model.studies.ablations import NO_RULES, changed_dataset, cut_variants, variant_cell, variants
from model.studies.network_cells import network_cell
from model.studies.specialist_cells import specialist_cell, study_cells
from model.studies.study_data import StudyData

# ---- models -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small_study(world: Dataset, small_config: Config) -> StudyData:
    return StudyData(world, replace(small_config, training=replace(small_config.training, steps=6, evaluations=1)))


def test_our_network_joint_and_alone(small_study: StudyData) -> None:
    joint = network_cell(small_study, None, 0).run()
    alone = network_cell(small_study, HOMEPAGE, 0).run()
    assert set(joint["protocols"]) == set(small_study.protocols["test"])
    assert set(alone["protocols"]) == {HOMEPAGE}
    for result in (joint, alone):
        values = result["protocols"][HOMEPAGE]["values"]["ndcg@10"]
        assert len(values) == len(result["protocols"][HOMEPAGE]["groups"])
        assert all(0 <= value <= 1 for value in values)
    assert 0 <= joint["calibration"][SEARCH]["ece"] <= 1
    assert [step for step, *_ in joint["curves"]["validations"]] == [6]
    less = joint["asked without"]
    assert set(less) == {"source_entity_id not imputed", "query not imputed", "nobody told"}
    assert set(less["source_entity_id not imputed"]) == {HOMEPAGE}
    assert HOMEPAGE in less["nobody told"]
    whole, nobody = (
        found["values"]["ndcg@10"] for found in (joint["protocols"][HOMEPAGE], less["nobody told"][HOMEPAGE])
    )
    assert len(whole) == len(nobody)
    assert whole != nobody
    whole_catalogue = {name for name, p in small_study.protocols["test"].items() if not p.slates and not p.met}
    assert set(joint["served"]) == whole_catalogue
    assert alone["served"] == {}
    served = joint["served"][HOMEPAGE]["values"]["recall@30"]
    assert served == joint["protocols"][HOMEPAGE]["values"]["recall@30"], "500 proposals are this whole catalogue"


def test_a_specialist_takes_the_setting_that_validation_likes_best(small_study: StudyData) -> None:
    (knn,) = (cell for cell in study_cells(small_study, 1) if cell.name == "item knn")
    result = knn.run()
    assert result["chosen"] in [dict(settings) for settings in knn.settings["grid"]]
    again = specialist_cell(small_study, _only(result["chosen"])).run()
    assert again["protocols"] == result["protocols"]
    assert again["validation"] == result["validation"]


def _only(settings: Mapping[str, Any]) -> Any:
    from model.studies.specialists import SPECIALISTS

    return replace(next(s for s in SPECIALISTS if s.name == "item knn"), grid=[settings])


def test_other_seeds_and_tasks_are_other_cells(small_study: StudyData) -> None:
    keys = {network_cell(small_study, task, seed).key("d") for task in (None, SEARCH) for seed in (0, 1)}
    assert len(keys) == 4
    assert network_cell(small_study, None, 0).key("d") in keys


def test_each_ablation_takes_one_thing_away(small_study: StudyData) -> None:
    dataset = small_study.dataset
    every = {variant.name: variant for variant in variants(dataset)}
    assert {"joint", "without task input", "without imputation", "without about", "without kinds"} <= set(every)
    assert "about" not in changed_dataset(dataset, every["without about"]).columns
    assert "without the country" in every
    nowhere = replace(dataset, events=dataset.events.with_columns(country=pl.lit(None, pl.String)))
    assert "without the country" not in {variant.name for variant in variants(nowhere)}
    assert changed_dataset(dataset, every["joint"]) is dataset
    keys = [variant_cell(small_study, variant, 0).key("d") for variant in every.values()]
    assert len(set(keys)) == len(keys)


def test_without_imputation_missing_fields_stay_null() -> None:
    filled = fill(Context(task=MORE_LIKE_THIS, source_entity_id="a"), NO_RULES, {"a": "Toy Story"}.get)
    assert filled.context.query is None
    with pytest.raises(MissingFieldError):
        fill(Context(task=MORE_LIKE_THIS), NO_RULES, {}.get)
    assert fill(Context(task=HOMEPAGE, history=(HistoryEvent("a"),)), NO_RULES, {}.get).context.source_entity_id is None


def test_a_cut_leaves_a_tenth_of_one_tasks_training_rankings(small_study: StudyData) -> None:
    events = small_study.dataset.events
    joint, alone = cut_variants([SEARCH])
    left = changed_dataset(small_study.dataset, joint).events
    assert changed_dataset(small_study.dataset, alone).events.equals(left)
    untouched = (pl.col("task") != SEARCH) | (pl.col("part") != "train")
    assert left.filter(untouched).equals(events.filter(untouched))
    share = left.filter(~untouched)["ranking_id"].n_unique() / events.filter(~untouched)["ranking_id"].n_unique()
    assert 0.03 < share < 0.25


def test_an_ablation_is_trained_and_asked_like_the_whole(small_study: StudyData) -> None:
    variant = next(v for v in variants(small_study.dataset) if v.name == "without the person")
    result = variant_cell(small_study, variant, 0).run()
    assert set(result["protocols"]) == set(small_study.protocols["test"])


# ---- the command --------------------------------------------------------------------------------------------


def test_the_command_writes_a_report_and_goes_on_where_it_stopped(world_path: Path, tmp_path: Path) -> None:
    arguments = ["study", "specialists", str(world_path), "--out", str(tmp_path), "--seeds", "1"]
    first = CliRunner().invoke(app, [*arguments, "--only", "popularity,content"])
    assert first.exit_code == 0, first.output
    assert "2 cells, 2 to run" in first.output
    second = CliRunner().invoke(app, [*arguments, "--only", "popularity,content,item knn"])
    assert "3 cells, 1 to run" in second.output
    written = json.loads((tmp_path / "report.json").read_text())
    assert {row["model"] for row in written["table"]} == {"popularity", "content", "item knn"}
    assert written["named"][HOMEPAGE] in {"popularity", "item knn"}
    assert "item knn" in (tmp_path / "report.html").read_text()
    popularity = [row for row in written["table"] if row["model"] == "popularity" and row["slice"] == "all"]
    assert all(np.isfinite([row["value"], row["low"], row["high"]]).all() for row in popularity)


def test_an_unknown_model_is_refused_by_name(world_path: Path, tmp_path: Path) -> None:
    arguments = ["study", "specialists", str(world_path), "--out", str(tmp_path), "--only", "bert"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code != 0
    assert "bert" in f"{result.output}{result.exception}"
