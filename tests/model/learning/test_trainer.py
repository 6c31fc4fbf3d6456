"""The loop itself, on a line with one weight: small enough to redo each step on paper."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from model.learning.checkpoint import CheckpointError
from model.learning.trainer import Trainer, on_device, running_mean

STEPS = 8


@dataclass(slots=True)
class Points:
    """One batch: y is to be weight · x."""

    x: Tensor
    y: Tensor
    note: str = ""


class Line(nn.Module):
    """weight · x; the loss is the squared error, with noise on x where it is asked for."""

    def __init__(self, weight: float = 0.0, noise: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([weight]))
        self.noise = noise

    def forward(self, batch: Points) -> Tensor:
        """Scalar."""
        x = batch.x + self.noise * torch.randn_like(batch.x)
        return ((self.weight * x - batch.y) ** 2).mean()


def points(step: int) -> Points:
    """Of the line 2 · x, other ones each step."""
    x = torch.tensor([1.0, 1.0 + step % 3])
    return Points(x, 2 * x)


def batches(first: int, last: int) -> nullcontext[Any]:
    return nullcontext(map(points, range(first, last)))


def trainer(line: Line | None = None, steps: int = STEPS, rate: float = 0.05, **more: Any) -> Trainer[Line]:
    """Plain gradient descent."""
    line = line or Line()
    optimiser = torch.optim.SGD(line.parameters(), lr=rate)
    return Trainer(objective=line, steps=steps, batches=batches, optimiser=optimiser, **more)


def momentum(**more: Any) -> Trainer[Line]:
    """With all that a checkpoint has to hold: moments, a rate that falls, a mean, draws of each step."""
    line = Line(noise=0.3)
    optimiser = torch.optim.Adam(line.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 / (1 + step))
    return Trainer(
        objective=line, steps=STEPS, batches=batches, optimiser=optimiser, schedule=schedule, clip=1.0, average=0.9,
        seed=5, validate=lambda judged: (-abs(judged.weight.item() - 1.0), {"weight": judged.weight.item()}),
        validate_at=(3, 6, STEPS), **more,
    )  # fmt: skip


class Stopped(Exception):
    """The power went."""


def stopping_at(step: int) -> Any:
    def report(done: int, of: int, note: str) -> None:
        if done == step and note.startswith("loss"):
            raise Stopped

    return report


# ---- steps --------------------------------------------------------------------------------------------------


def test_one_step_by_hand() -> None:
    one = trainer(steps=1, rate=0.1)
    assert one.fit().weight.item() == pytest.approx(0.4)  # the gradient of (0 · 1 − 2)² by the weight is −4
    assert one.history.losses == [(1, 4.0)]


def test_the_loss_falls_and_the_slope_is_found() -> None:
    run = trainer(steps=40)
    line = run.fit()
    losses = [loss for _, loss in run.history.losses]
    assert losses[-1] < 1e-3 * losses[0]
    assert line.weight.item() == pytest.approx(2, abs=1e-2)
    assert not line.training


def test_gradients_are_clipped() -> None:
    assert trainer(steps=1, rate=0.1, clip=1.0).fit().weight.item() == pytest.approx(0.1)


def test_a_schedule_moves_with_each_step() -> None:
    line = Line()
    optimiser = torch.optim.SGD(line.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: float(step < 1))
    run = Trainer(objective=line, steps=3, batches=batches, optimiser=optimiser, schedule=schedule)
    assert run.fit().weight.item() == pytest.approx(0.4)  # of the first step alone


def test_each_step_draws_by_its_number() -> None:
    one, two = trainer(Line(noise=1.0), seed=3), trainer(Line(noise=1.0), seed=3, report=lambda *_: torch.rand(2))
    assert torch.equal(one.fit().weight, two.fit().weight)
    assert not torch.equal(trainer(Line(noise=1.0), seed=4).fit().weight, two.objective.weight)


def test_no_steps_leave_everything_as_it_was() -> None:
    assert trainer(Line(1.5), steps=0).fit().weight.item() == 1.5


# ---- what is kept -------------------------------------------------------------------------------------------


def test_the_best_state_is_kept() -> None:
    seen: list[float] = []

    def nearest_to_one(line: Line) -> tuple[float, dict[str, float]]:
        assert not line.training
        seen.append(line.weight.item())
        return -abs(seen[-1] - 1.0), {"weight": seen[-1]}

    run = trainer(validate=nearest_to_one, validate_at=range(1, STEPS + 1))
    line = run.fit()
    assert line.weight.item() == min(seen, key=lambda weight: abs(weight - 1.0)) != seen[-1]
    assert seen[run.best_step - 1] == line.weight.item()
    assert [(step, values["weight"]) for step, _, values in run.history.validations] == list(enumerate(seen, 1))


def test_of_equal_states_the_first_is_kept() -> None:
    run = trainer(validate=lambda _: (0.5, {}), validate_at=(2, 4))
    run.fit()
    assert run.best_step == 2


def test_with_nothing_to_choose_by_the_newest_validated_state_is_kept() -> None:
    run = trainer(validate=lambda _: (None, {}), validate_at=(2, 4))
    assert torch.equal(run.fit().weight, trainer(steps=4).fit().weight)
    assert run.best_step == 4


def test_without_validation_the_last_state_is_kept() -> None:
    run = trainer()
    weights: list[float] = []
    run.report = lambda *_: weights.append(run.objective.weight.item())
    assert run.fit().weight.item() == weights[-1]


def test_the_running_mean_by_hand() -> None:
    line = Line(0.0)
    mean = running_mean(line, decay=0.15)
    assert mean.module.weight.item() == 0.0  # the first state
    for weight, expected in ((1.0, 0.9), (2.0, 1.835)):
        line.weight.data.fill_(weight)
        mean.update_parameters(line)
        assert mean.module.weight.item() == pytest.approx(expected)
    # 1 / (9 + 1) of 0 and 9 / 10 of 1; then 2 / (9 + 2) would be more than the decay: 0.15 · 0.9 + 0.85 · 2


def test_the_mean_is_what_is_validated_and_kept() -> None:
    seen: list[float] = []
    run = trainer(steps=1, rate=0.1, average=0.9, validate=lambda line: (seen.append(line.weight.item()), {}))
    run.validate_at = (1,)
    assert run.fit().weight.item() == pytest.approx(0.36)  # a tenth of 0 and nine tenths of 0.4
    assert seen == pytest.approx([0.36])
    assert trainer(steps=1, rate=0.1, average=0.9).fit().weight.item() == pytest.approx(0.36)


# ---- resumed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [4, 5, 7, 8])
def test_a_resumed_run_equals_the_one_without_a_break(tmp_path: Path, at: int) -> None:
    whole = momentum()
    expected = whole.fit()
    with pytest.raises(Stopped):
        momentum(report=stopping_at(at)).fit(tmp_path)
    resumed = momentum()
    assert torch.equal(resumed.fit(tmp_path, resume=True).weight, expected.weight)
    assert resumed.history == whole.history
    assert resumed.best_step == whole.best_step


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint to resume from"):
        momentum().fit(tmp_path, resume=True)
    with pytest.raises(Stopped):
        momentum(report=stopping_at(5)).fit(tmp_path, {"data": "films"})
    with pytest.raises(CheckpointError, match="of another run: data 'films', now 'songs'"):
        momentum().fit(tmp_path, {"data": "songs"}, resume=True)
    longer = momentum()
    longer.steps += 1
    with pytest.raises(CheckpointError, match="of a run of 8 steps, this one has 9"):
        longer.fit(tmp_path, {"data": "films"}, resume=True)


# ---- devices ------------------------------------------------------------------------------------------------


def test_tensors_of_a_batch_move_and_nothing_else_does() -> None:
    moved = on_device([Points(torch.ones(2), torch.ones(2), "kept"), torch.ones(1)], "meta")
    assert [moved[0].x.device.type, moved[0].y.device.type, moved[1].device.type] == ["meta"] * 3
    assert moved[0].note == "kept"
    here = points(0)
    assert on_device(here, "cpu").x is here.x


def test_the_objective_and_its_batches_are_where_the_trainer_is_told() -> None:
    devices: list[str] = []

    class Placed(Line):
        def forward(self, batch: Points) -> Tensor:
            devices.extend((batch.x.device.type, self.weight.device.type))
            raise Stopped

    with pytest.raises(Stopped):
        trainer(Placed(), device="meta").fit()
    assert devices == ["meta", "meta"]
