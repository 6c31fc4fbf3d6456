"""The training loop: steps over an objective, the best state by validation, resumable. Independent of ranking.

Objective, batches and validation are passed in. It writes only its checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel

from model.learning import checkpoint

Objective = TypeVar("Objective", bound=nn.Module)  # its forward(batch) gives the loss, a scalar
Report = Callable[[int, int, str], None]  # step, number of steps, a line to show
Batches = Callable[[int, int], AbstractContextManager[Iterable[Any]]]  # of steps first to last, last excluded
Validate = Callable[[Objective], tuple[float | None, dict[str, float]]]
State = dict[str, Tensor]


@dataclass(slots=True)
class History:
    """The course of a run: losses and validations by step, counted from 1."""

    losses: list[tuple[int, float]] = field(default_factory=list)
    validations: list[tuple[int, float, dict[str, float]]] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Trainer(Generic[Objective]):
    """One run. All trained parameters belong to `objective`, which contains the networks.

    `validate` takes an objective in evaluation mode and returns a value, larger is better, and figures to show by
    name; with the value None the newest state is the best. The best state is kept, else the last.
    """

    objective: Objective
    steps: int
    batches: Batches
    optimiser: Optimizer
    schedule: LRScheduler | None = None  # advances with each step; its state must be plain JSON
    clip: float | None = None  # maximum norm of the gradients
    average: float | None = None  # decay of the running mean of the parameters, which is then kept instead
    validate: Validate[Objective] = lambda _: (None, {})
    validate_at: Collection[int] = ()  # steps, counted from 1; a checkpoint follows each
    seed: int | None = None  # of the random draws of each step; without it a run cannot be resumed
    device: torch.device | str = "cpu"
    report: Report = lambda *_: None
    step: int = field(default=0, init=False)  # steps done
    best_step: int = field(default=0, init=False)
    history: History = field(default_factory=History, init=False)
    _best_value: float = field(default=-np.inf, init=False)
    _best: State | None = field(default=None, init=False)
    _mean: AveragedModel | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.objective.to(self.device)
        if self.average is not None:
            self._mean = running_mean(self.objective, self.average)

    def fit(self, folder: Path | None = None, run: Mapping[str, Any] | None = None, resume: bool = False) -> Objective:
        """Run the steps and return the objective in its best state, in evaluation mode.

        `folder` takes checkpoints, and with `resume` the run continues from the last one. `run` must be equal for
        that (plain JSON). Raises `CheckpointError` if there is none, or it belongs to another run.
        """
        identity = {"steps": self.steps, **(run or {})}
        if resume and folder is not None:
            self._load(folder, identity)
        with self.batches(self.step, self.steps) as batches:
            for batch in batches:
                self._train_step(batch)
                if self.step in self.validate_at:
                    self._validate()
                    if folder is not None and self.step < self.steps:
                        self._save(folder, identity)
        self.objective.load_state_dict(self._best or self._evaluated.state_dict())
        self.objective.eval()
        return self.objective

    @property
    def _evaluated(self) -> Objective:
        """What is validated and kept: the running mean if there is one, else the objective."""
        return self.objective if self._mean is None else cast(Objective, self._mean.module)

    def _train_step(self, batch: Any) -> None:
        """One step."""
        self.objective.train()
        if self.seed is not None:
            torch.manual_seed(self.seed * 1_000_003 + self.step)
        loss = self.objective(on_device(batch, self.device))
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self._update()
        self.step += 1
        value = float(loss.detach())
        self.history.losses.append((self.step, value))
        self.report(self.step, self.steps, f"loss {value:.3f}")

    def _update(self) -> None:
        """Update parameters, learning rates and running mean from the current gradients."""
        if self.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.objective.parameters(), self.clip)
        self.optimiser.step()
        if self.schedule is not None:
            self.schedule.step()
        if self._mean is not None:
            self._mean.update_parameters(self.objective)

    def _validate(self) -> None:
        """Validate the current state, and keep a copy if it is the best so far."""
        metric, values = self.validate(self._evaluated.eval())
        value = float(self.step) if metric is None else metric
        self.history.validations.append((self.step, value, values))
        self.report(self.step, self.steps, "validation " + "  ".join(f"{k} {v:.4f}" for k, v in values.items()))
        if value > self._best_value:
            self._best_value, self.best_step = value, self.step
            self._best = {name: tensor.detach().clone() for name, tensor in self._evaluated.state_dict().items()}

    # ---- checkpoints ----------------------------------------------------------------------------------------

    def _save(self, folder: Path, identity: Mapping[str, Any]) -> None:
        """Write the whole state of the run."""
        position = {
            "run": identity, "step": self.step, "best_step": self.best_step, "best_value": self._best_value,
            "losses": self.history.losses, "validations": self.history.validations,
            "schedule": self.schedule.state_dict() if self.schedule is not None else None,
        }  # fmt: skip
        networks = {"now": self.objective.state_dict(), "best": self._best or {}}
        if self._mean is not None:
            networks["mean"] = self._mean.state_dict()
        checkpoint.save(folder, networks, self.optimiser.state_dict(), position)

    def _load(self, folder: Path, identity: Mapping[str, Any]) -> None:
        """Restore a saved state. Raises `CheckpointError` if it belongs to another run."""
        saved = checkpoint.load(folder, self.optimiser.state_dict())
        checkpoint.check_same_run(folder, saved.position.get("run", {}), identity)
        self.objective.load_state_dict(saved.networks["now"])
        if self._mean is not None:
            self._mean.load_state_dict(saved.networks["mean"])
        self._best = saved.networks.get("best")
        self.optimiser.load_state_dict(saved.optimiser)
        self.step, self.best_step = saved.position["step"], saved.position["best_step"]
        self._best_value = saved.position["best_value"]
        self.history.losses = [tuple(entry) for entry in saved.position["losses"]]
        self.history.validations = [tuple(entry) for entry in saved.position["validations"]]
        if self.schedule is not None:
            self.schedule.load_state_dict(saved.position["schedule"])
            for group, rate in zip(self.optimiser.param_groups, self.schedule.get_last_lr(), strict=True):
                group["lr"] = rate


def running_mean(objective: nn.Module, decay: float) -> AveragedModel:
    """The exponential mean of the parameters, starting at their current values; buffers are those of the objective.

    After n states the decay is at most n / (9 + n), so that the first states soon lose their weight.
    """

    def move(means: Sequence[Tensor], parameters: Sequence[Tensor], n: Tensor | int) -> None:
        effective_decay = min(decay, int(n) / (9 + int(n)))
        for mean, parameter in zip(means, parameters, strict=True):
            mean.lerp_(parameter, 1 - effective_decay)

    mean = AveragedModel(objective, multi_avg_fn=move).requires_grad_(False)
    mean.update_parameters(objective)  # the first state
    return mean


def on_device(batch: Any, device: torch.device | str) -> Any:
    """A tensor, a list of batches, or a dataclass with its tensors and dataclasses, on a device; all else unchanged."""
    if isinstance(batch, Tensor):
        return batch.to(device)
    if isinstance(batch, list):
        return [on_device(part, device) for part in batch]
    if not is_dataclass(batch) or isinstance(batch, type):
        return batch
    parts = {entry.name: getattr(batch, entry.name) for entry in fields(batch)}
    moving = {name: part for name, part in parts.items() if isinstance(part, Tensor) or is_dataclass(part)}
    return replace(batch, **{name: on_device(part, device) for name, part in moving.items()})
