"""Training: repeatable, resumable, calibrated, and it learns."""

from __future__ import annotations

import contextlib
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model.config import Config
from model.datasets.dataset import Dataset
from model.learning import checkpoint
from model.learning.checkpoint import CheckpointError
from model.learning.ranker_training import TrainingResult, train
from model.learning.step_batches import StepBatches
from model.learning.trainer import on_device
from model.learning.training_data import TrainingData, prepare

STEPS = 9
NETWORK = ("ranker", "layers", "inputs")  # what a step runs


@pytest.fixture(scope="module")
def short(world: Dataset, small_config: Config) -> TrainingData:
    """Ready for a run of a few steps with a validation every third."""
    training = replace(small_config.training, contexts_per_step=9, negatives=8, evaluations=3, validation_rankings=8)
    return prepare(world, replace(small_config, training=training))


@pytest.fixture(scope="module")
def whole_run(short: TrainingData) -> TrainingResult:
    """A run without a break."""
    return train(short, STEPS)


def assert_same_weights(one: TrainingResult, two: TrainingResult) -> None:
    left, right = one.ranker.state_dict(), two.ranker.state_dict()
    assert left.keys() == right.keys()
    for name in left:
        torch.testing.assert_close(left[name], right[name], rtol=1e-6, atol=1e-6, msg=name)


def assert_same_run(one: TrainingResult, two: TrainingResult) -> None:
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


def interrupted(prepared: TrainingData, steps: int, at: int, folder: Path) -> None:
    with pytest.raises(Stopped):
        train(prepared, steps, folder, report=stopper(at))


# ---- repeatable ---------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_run(short: TrainingData, whole_run: TrainingResult) -> None:
    again = train(short, STEPS)
    assert_same_run(again, whole_run)


def test_what_happens_to_global_randomness_does_not_matter(short: TrainingData, whole_run: TrainingResult) -> None:
    torch.manual_seed(12345)
    np.random.default_rng(7)

    def disturb(step: int, of: int, note: str) -> None:
        torch.rand(step)

    assert_same_run(train(short, STEPS, report=disturb), whole_run)


def test_another_seed_gives_another_run(short: TrainingData, whole_run: TrainingResult) -> None:
    other = train(replace_seed(short, 1), 3)
    assert other.history.losses[0] != whole_run.history.losses[0]


def replace_seed(prepared: TrainingData, seed: int) -> TrainingData:
    return replace(prepared, config=replace(prepared.config, seed=seed))


def test_losses_and_validations_are_reported_step_by_step(whole_run: TrainingResult) -> None:
    assert [step for step, _ in whole_run.history.losses] == list(range(1, STEPS + 1))
    assert all(np.isfinite(loss) for _, loss in whole_run.history.losses)
    assert whole_run.history.validations[-1][0] == STEPS
    assert whole_run.best_step in [step for step, _, _ in whole_run.history.validations]
    values = {step: value for step, value, _ in whole_run.history.validations}
    assert values[whole_run.best_step] == max(values.values())


# ---- resumable ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [5, 8])
def test_a_resumed_run_equals_the_one_without_a_break(
    short: TrainingData, whole_run: TrainingResult, tmp_path: Path, at: int
) -> None:
    interrupted(short, STEPS, at, tmp_path)
    resumed = train(short, STEPS, tmp_path, resume=True)
    assert_same_run(resumed, whole_run)


def test_a_run_stopped_twice_goes_on_each_time(short: TrainingData, whole_run: TrainingResult, tmp_path: Path) -> None:
    interrupted(short, STEPS, 4, tmp_path)
    with pytest.raises(Stopped):
        train(short, STEPS, tmp_path, resume=True, report=stopper(7))
    assert_same_run(train(short, STEPS, tmp_path, resume=True), whole_run)


def test_there_must_be_something_to_resume(short: TrainingData, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint to resume from"):
        train(short, STEPS, tmp_path / "nothing", resume=True)
    interrupted(short, STEPS, 5, tmp_path)
    (tmp_path / checkpoint.TENSORS).write_bytes(b"\x08\0\0\0\0\0\0\0nonsense")
    with pytest.raises(CheckpointError, match="no checkpoint to resume from"):
        train(short, STEPS, tmp_path, resume=True)


def test_a_checkpoint_of_another_length_is_refused(short: TrainingData, tmp_path: Path) -> None:
    interrupted(short, STEPS, 5, tmp_path)
    with pytest.raises(CheckpointError, match="of a run of 9 steps, this one has 12"):
        train(short, 12, tmp_path, resume=True)


def test_a_checkpoint_of_a_network_of_another_shape_is_refused(short: TrainingData, tmp_path: Path) -> None:
    interrupted(short, STEPS, 5, tmp_path)
    config = replace(short.config, network=replace(short.config.network, scorer_hidden=16))
    with pytest.raises(CheckpointError):
        train(replace(short, config=config), STEPS, tmp_path, resume=True)


def test_a_checkpoint_of_another_seed_is_refused(short: TrainingData, tmp_path: Path) -> None:
    """It would go on without a word, as a run that no seed can repeat."""
    interrupted(short, STEPS, 5, tmp_path)
    with pytest.raises(CheckpointError):
        train(replace_seed(short, 1), STEPS, tmp_path, resume=True)


def test_a_stop_while_a_checkpoint_is_written_leaves_the_older_one_whole(
    short: TrainingData, whole_run: TrainingResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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


# ---- other devices --------------------------------------------------------------------------------------------


def test_every_tensor_of_a_batch_moves_to_the_device_of_a_run(short: TrainingData) -> None:
    moved = on_device(StepBatches(short, short.rankings).batches(0), "meta")
    assert len(moved) == len(short.tasks)
    for part in [*moved, *(batch.entities for batch in moved)]:
        tensors = [value for entry in fields(part) if isinstance(value := getattr(part, entry.name), torch.Tensor)]
        assert tensors
        assert {tensor.device.type for tensor in tensors} == {"meta"}


def test_nothing_under_training_names_the_processor_but_as_a_default() -> None:
    """Batches are made there (batches.py) and moved by the loop."""
    root = Path(train.__code__.co_filename).parents[1]
    files = [*(root / "learning").glob("*.py"), *(root / "network" / f"{name}.py" for name in NETWORK)]
    named = {(file.name, line.strip()) for file in files for line in file.read_text().splitlines() if '"cpu"' in line}
    assert {line for name, line in named if name != "batches.py"} == {
        'device: str = "cpu",', 'device: torch.device | str = "cpu"',
    }  # fmt: skip


# ---- what comes out --------------------------------------------------------------------------------------------


def test_training_makes_the_loss_smaller(model_path: Path, short: TrainingData) -> None:
    trained = train(short, 30)
    losses = [loss for _, loss in trained.history.losses]
    assert np.mean(losses[-6:]) < np.mean(losses[:6])


def test_the_finished_network_is_the_best_one_and_at_rest(short: TrainingData, whole_run: TrainingResult) -> None:
    assert not whole_run.ranker.training
    assert all(torch.isfinite(value).all() for value in whole_run.ranker.state_dict().values())
    assert set(whole_run.calibration.curves) <= set(short.tasks)
    assert all(curve.slope > 0 for curve in whole_run.calibration.curves.values())
