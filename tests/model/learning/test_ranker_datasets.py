"""What a model comes from: it learns search, never reads rows under test, and hard datasets do not stop it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from model.artefact.build import build
from model.artefact.model import Artefact
from model.config import Config
from model.context.imputation import MissingFieldError
from model.datasets.dataset import Dataset
from model.evaluation.reports import evaluate_artefact
from model.learning.training_data import prepare


def test_search_is_learned(artefact: Artefact, world: Dataset) -> None:
    report = evaluate_artefact(artefact, world)["tasks"]["search"]
    trained = report["ndcg@10"]["value"]
    assert trained > random_ndcg(world) + 0.2
    assert trained > 0.85


def random_ndcg(world: Dataset) -> float:
    slates = world.events.filter((pl.col("task") == "search") & (pl.col("part") == "test"))
    rng, values = np.random.default_rng(0), []
    for _, rows in slates.group_by("ranking_id", maintain_order=True):
        labels = rng.permutation(rows["label"].to_numpy())
        discounts = 1 / np.log2(np.arange(2, len(labels) + 2))
        values.append(float(labels @ discounts / (np.sort(labels)[::-1] @ discounts)))
    return float(np.mean(values))


def test_test_rows_never_reach_training(world: Dataset, small_config: Config) -> None:
    """Whatever is done to the rows under test, what a run is made from stays the same."""
    turned = world.events.with_columns(
        label=pl.when(pl.col("part") == "test").then(1 - pl.col("label").clip(0, 1)).otherwise(pl.col("label"))
    )
    one, two = prepare(world, small_config), prepare(replace(world, events=turned), small_config)
    assert one.users == two.users
    assert np.array_equal(one.popularity(), two.popularity())
    for left, right in zip(one.tables, two.tables, strict=True):
        assert np.array_equal(left.vectors, right.vectors)
        assert np.array_equal(left.popularity, right.popularity)
    assert [(u.context, u.entity_ids, u.labels.tolist()) for u in one.rankings] == [
        (u.context, u.entity_ids, u.labels.tolist()) for u in two.rankings
    ]


# ---- hard datasets ------------------------------------------------------------------------------------------


def altered(world: Dataset, *changes: pl.Expr) -> Dataset:
    return replace(world, events=world.events.with_columns(*changes))


def quick(config: Config, **changes: object) -> Config:
    small = {"steps": 2, "contexts_per_step": 6, "negatives": 4, "evaluations": 1, "validation_rankings": 4, "folds": 2}
    return replace(config, training=replace(config.training, **(small | changes)))


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("no times", [pl.lit(None, pl.Int64).alias("timestamp")]),
        ("no users", [pl.lit(None, pl.String).alias("user_id")]),
        ("no countries", [pl.lit(None, pl.String).alias("country")]),
        ("no parts", [pl.lit(None, pl.String).alias("part")]),
        ("one second", [pl.lit(1_700_000_000_000).alias("timestamp")]),
        ("all liked", [pl.lit(1.0).alias("label")]),
        ("graded", [(pl.col("label") * 4.5).alias("label")]),
    ],
)
def test_a_model_comes_from_a_dataset_with(
    world: Dataset, small_config: Config, tmp_path: Path, name: str, changes: list[pl.Expr]
) -> None:
    build(altered(world, *changes), tmp_path / "model", quick(small_config))
    artefact = Artefact.load(tmp_path / "model")
    assert artefact.tasks == ("homepage", "more_like_this", "search")


def test_a_dataset_without_any_positive_is_refused_in_words(
    world: Dataset, small_config: Config, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        build(altered(world, pl.lit(0.0).alias("label")), tmp_path / "model", quick(small_config))


def test_one_more_like_this_row_without_a_source_does_not_stop_training(
    world: Dataset, small_config: Config, tmp_path: Path
) -> None:
    """A dataset may hold such a row (API.md §1: the source may be null): it can be left out, or refused in words."""
    pairs = pl.col("task") == "more_like_this"
    gone = pl.when(pairs).then(pl.lit(None, pl.String)).otherwise(pl.col("source_entity_id")).alias("source_entity_id")
    try:
        build(altered(world, gone), tmp_path / "model", quick(small_config))
    except MissingFieldError as error:
        pytest.fail(f"stopped in the middle of a run: {error}")
    except ValueError:
        pass


def test_rows_of_no_part_asked_for_are_refused(world: Dataset, small_config: Config) -> None:
    with pytest.raises(ValueError, match="no rows for parts"):
        prepare(world, small_config, tasks=["horoscope"])


def test_every_part_trains_on_all_rows_and_keeps_the_calibration(
    world: Dataset, small_config: Config, tmp_path: Path
) -> None:
    config = quick(small_config)
    build(world, tmp_path / "train", config)
    build(world, tmp_path / "all", config, every_part=True)
    train_only, every = Artefact.load(tmp_path / "train"), Artefact.load(tmp_path / "all")
    assert every.calibration == train_only.calibration
    assert every.contents.manifest.dataset["parts"] == ["train", "validation", "test"]
    assert float(every.contents.engagement.popularity.sum()) > float(train_only.contents.engagement.popularity.sum())


def test_tasks_can_be_chosen(world: Dataset, small_config: Config, tmp_path: Path) -> None:
    manifest = build(world, tmp_path / "model", quick(small_config), tasks=["search"])
    assert manifest.tasks == ["search"]
