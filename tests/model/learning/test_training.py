"""Training: repeatable, resumable, calibrated, and it learns."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from model.artefact.build import build
from model.artefact.model import Artefact
from model.config import Config
from model.context.imputation import MissingFieldError
from model.datasets.dataset import Dataset
from model.evaluation.reports import evaluate_artefact
from model.learning import checkpoint
from model.learning.checkpoint import CheckpointError
from model.learning.prepared import Prepared, prepare
from model.learning.ranker_training import Trained, train

STEPS = 9


@pytest.fixture(scope="module")
def short(world: Dataset, small_config: Config) -> Prepared:
    """Ready for a run of a few steps with a validation every third."""
    training = replace(small_config.training, contexts_per_step=9, negatives=8, evaluations=3, validation_rankings=8)
    return prepare(world, replace(small_config, training=training))


@pytest.fixture(scope="module")
def whole_run(short: Prepared) -> Trained:
    """A run without a break."""
    return train(short, STEPS)


def assert_same_weights(one: Trained, two: Trained) -> None:
    left, right = one.ranker.state_dict(), two.ranker.state_dict()
    assert left.keys() == right.keys()
    for name in left:
        torch.testing.assert_close(left[name], right[name], rtol=1e-6, atol=1e-6, msg=name)


def assert_same_run(one: Trained, two: Trained) -> None:
    np.testing.assert_allclose(one.history.losses, two.history.losses, rtol=1e-6)
    assert one.history.validations == two.history.validations
    assert one.best_step == two.best_step
    assert one.calibration == two.calibration
    assert_same_weights(one, two)


class Stopped(Exception):
    """The power went."""


def stopper(at: int) -> object:
    def report(step: int, of: int, note: str) -> None:
        if step == at and not note.startswith("validation"):
            raise Stopped

    return report


def interrupted(prepared: Prepared, steps: int, at: int, folder: Path) -> None:
    with pytest.raises(Stopped):
        train(prepared, steps, folder, report=stopper(at))


# ---- repeatable ---------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_run(short: Prepared, whole_run: Trained) -> None:
    again = train(short, STEPS)
    assert_same_run(again, whole_run)


def test_what_happens_to_global_randomness_does_not_matter(short: Prepared, whole_run: Trained) -> None:
    torch.manual_seed(12345)
    np.random.default_rng(7)

    def disturb(step: int, of: int, note: str) -> None:
        torch.rand(step)

    assert_same_run(train(short, STEPS, report=disturb), whole_run)


def test_another_seed_gives_another_run(short: Prepared, whole_run: Trained) -> None:
    other = train(replace_seed(short, 1), 3)
    assert other.history.losses[0] != whole_run.history.losses[0]


def replace_seed(prepared: Prepared, seed: int) -> Prepared:
    return replace(prepared, config=replace(prepared.config, seed=seed))


def test_losses_and_validations_are_reported_step_by_step(whole_run: Trained) -> None:
    assert [step for step, _ in whole_run.history.losses] == list(range(1, STEPS + 1))
    assert all(np.isfinite(loss) for _, loss in whole_run.history.losses)
    assert whole_run.history.validations[-1][0] == STEPS
    assert whole_run.best_step in [step for step, _, _ in whole_run.history.validations]
    values = {step: value for step, value, _ in whole_run.history.validations}
    assert values[whole_run.best_step] == max(values.values())


# ---- resumable ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [5, 8])
def test_a_resumed_run_equals_the_one_without_a_break(
    short: Prepared, whole_run: Trained, tmp_path: Path, at: int
) -> None:
    interrupted(short, STEPS, at, tmp_path)
    resumed = train(short, STEPS, tmp_path, resume=True)
    assert_same_run(resumed, whole_run)


def test_a_run_stopped_twice_goes_on_each_time(short: Prepared, whole_run: Trained, tmp_path: Path) -> None:
    interrupted(short, STEPS, 4, tmp_path)
    with pytest.raises(Stopped):
        train(short, STEPS, tmp_path, resume=True, report=stopper(7))
    assert_same_run(train(short, STEPS, tmp_path, resume=True), whole_run)


def test_there_must_be_something_to_resume(short: Prepared, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint to resume from"):
        train(short, STEPS, tmp_path / "nothing", resume=True)
    interrupted(short, STEPS, 5, tmp_path)
    (tmp_path / checkpoint.TENSORS).write_bytes(b"\x08\0\0\0\0\0\0\0nonsense")
    with pytest.raises(CheckpointError, match="no checkpoint to resume from"):
        train(short, STEPS, tmp_path, resume=True)


def test_a_checkpoint_of_another_length_is_refused(short: Prepared, tmp_path: Path) -> None:
    interrupted(short, STEPS, 5, tmp_path)
    with pytest.raises(CheckpointError, match="of a run of 9 steps, this one has 12"):
        train(short, 12, tmp_path, resume=True)


def test_a_checkpoint_of_a_network_of_another_shape_is_refused(short: Prepared, tmp_path: Path) -> None:
    interrupted(short, STEPS, 5, tmp_path)
    config = replace(short.config, network=replace(short.config.network, scorer_hidden=16))
    with pytest.raises(CheckpointError):
        train(replace(short, config=config), STEPS, tmp_path, resume=True)


def test_a_checkpoint_of_another_seed_is_refused(short: Prepared, tmp_path: Path) -> None:
    """It would go on without a word, as a run that no seed can repeat."""
    interrupted(short, STEPS, 5, tmp_path)
    with pytest.raises(CheckpointError):
        train(replace_seed(short, 1), STEPS, tmp_path, resume=True)


def test_a_stop_while_a_checkpoint_is_written_leaves_the_older_one_whole(
    short: Prepared, whole_run: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every place between two file operations: the checkpoint is the older or the newer one, never a mixture."""
    interrupted(short, STEPS, 5, tmp_path)  # the checkpoint of step 3
    rename, replaced, calls = Path.rename, Path.replace, []

    def failing(original: object) -> object:
        def moved(self: Path, target: Path) -> Path:
            calls.append(target)
            if len(calls) > 1:
                raise Stopped
            return original(self, target)

        return moved

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", failing(rename))
        patch.setattr(Path, "replace", failing(replaced))
        with contextlib.suppress(Stopped):
            train(short, STEPS, tmp_path, resume=True, report=stopper(8))
    assert calls
    assert_same_run(train(short, STEPS, tmp_path, resume=True), whole_run)


# ---- what is learned ----------------------------------------------------------------------------------------


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


def test_training_makes_the_loss_smaller(model_path: Path, short: Prepared) -> None:
    trained = train(short, 30)
    losses = [loss for _, loss in trained.history.losses]
    assert np.mean(losses[-6:]) < np.mean(losses[:6])


def test_the_finished_network_is_the_best_one_and_at_rest(short: Prepared, whole_run: Trained) -> None:
    assert not whole_run.ranker.training
    assert all(torch.isfinite(value).all() for value in whole_run.ranker.state_dict().values())
    assert set(whole_run.calibration.curves) <= set(short.tasks)
    assert all(curve.slope > 0 for curve in whole_run.calibration.curves.values())


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
    assert [(u.context, u.entity_ids, u.labels.tolist()) for u in one.units] == [
        (u.context, u.entity_ids, u.labels.tolist()) for u in two.units
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
