"""Trains the ranker: gives its losses, optimiser, batches and validation to the loop of `trainer.py`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from model.config import TrainingConfig
from model.learning.batch_process import batches_ahead
from model.learning.batches import TrainingBatch
from model.learning.calibration import Calibration
from model.learning.losses import binary_loss, softmax_loss
from model.learning.step_batches import StepBatches, taught_rankings
from model.learning.trained_rows import fingerprint
from model.learning.trainer import History, Report, Trainer
from model.learning.training_data import TrainingData
from model.learning.validation import Validation
from model.network.ranker import Ranker, RankerOutput

WORTH_A_PROCESS = 100  # steps from which a process for the batches saves time


@dataclass(slots=True)
class TrainingResult:
    """The best network of a run, its calibration, and the history of the run."""

    ranker: Ranker
    calibration: Calibration
    history: History
    best_step: int
    taught: list[str]  # tasks whose slates carry scores of boosted trees


class RankingObjective(nn.Module):
    """The loss of one step: the mean over the contexts of a batch of each task.

    It sums a softmax loss for the order of a slate, a binary loss for the probability of each label, and a softmax
    loss for the order by the dot product alone, which retrieves candidates.
    """

    def __init__(self, ranker: Ranker, tasks: Sequence[str], judged: Collection[str], config: TrainingConfig) -> None:
        super().__init__()
        self.ranker = ranker
        self.tasks = tasks  # one per batch, in their order
        self.judged = judged  # tasks with negative labels: there, random negatives do not count as labels
        self.config = config

    def forward(self, batches: Sequence[TrainingBatch]) -> Tensor:
        """One batch per task → scalar."""
        losses = [self._loss(batch, task) for batch, task in zip(batches, self.tasks, strict=True)]
        total = torch.stack([loss * len(b.candidates) for loss, b in zip(losses, batches, strict=True)]).sum()
        return total / sum(len(batch.candidates) for batch in batches)

    def _loss(self, batch: TrainingBatch, task: str) -> Tensor:
        output: RankerOutput = self.ranker(
            batch.entities, batch.context, batch.source, batch.history, batch.candidates, batch.features, batch.affinity
        )
        labelled_rows = batch.mask & batch.shown if task in self.judged else batch.mask
        return (
            softmax_loss(output.logits, batch.targets, batch.mask, batch.log_q)
            + self.config.bce_weight * binary_loss(output.logits, batch.labels, labelled_rows)
            + self.config.retrieval_weight
            * softmax_loss(output.retrieval_logits, batch.labels, batch.mask, batch.log_q)
        )


def steps_for(config: TrainingConfig, data: TrainingData) -> int:
    """Steps of a run: as configured, else from the number of positive rows."""
    if config.steps:
        return config.steps
    positives = sum(int((ranking.labels > 0).sum()) for ranking in data.rankings)
    return int(np.clip(positives / 75, 200, 900))


def train(
    data: TrainingData,
    steps: int,
    folder: Path | None = None,
    resume: bool = False,
    report: Report = lambda *_: None,
    device: str = "cpu",
) -> TrainingResult:
    """Train for `steps` steps on a device. `folder` takes checkpoints; with `resume` a run continues from the last one.

    Raises `CheckpointError` if there is none, or it is of another run.
    """
    torch.manual_seed(data.config.seed)
    step_batches = StepBatches(data, taught_rankings(data))
    objective = _objective(data, step_batches)
    validation = Validation(data)
    trainer = _trainer(objective, step_batches, steps, validation, report, device)
    run = identity(data, step_batches) if folder is not None else None
    ranker = trainer.fit(folder, run, resume).ranker
    calibration = validation.calibrate(ranker)
    return TrainingResult(ranker.cpu(), calibration, trainer.history, trainer.best_step, taught_tasks(step_batches))


def _objective(data: TrainingData, step_batches: StepBatches) -> RankingObjective:
    """The objective of a new network, with features scaled by a sample of them."""
    ranker = data.ranker()
    ranker.features.fit(step_batches.feature_samples())
    judged = {ranking.context.task for ranking in data.rankings if (ranking.labels <= 0).any()}
    return RankingObjective(ranker, step_batches.tasks, judged, data.config.training)


def _trainer(
    objective: RankingObjective, batches: StepBatches, steps: int, validation: Validation, report: Report, device: str
) -> Trainer[RankingObjective]:
    """The training loop of a run, set up by the configuration."""
    config = batches.data.config
    optimiser, schedule = _optimiser(objective, config.training, steps)
    every = max(1, steps // config.training.evaluations)
    return Trainer(
        objective=objective, steps=steps, batches=lambda first, last: _batches(batches, first, last),
        optimiser=optimiser, schedule=schedule, clip=1.0, average=config.training.average,
        validate=lambda evaluated: validation.value(evaluated.ranker), validate_at={*range(every, steps, every), steps},
        seed=config.seed, device=device, report=report,
    )  # fmt: skip


def _batches(step_batches: StepBatches, first: int, last: int) -> AbstractContextManager[Iterable[list[TrainingBatch]]]:
    """The batches of some steps. Many are made ahead by a process: threads would share one core."""
    if last - first >= WORTH_A_PROCESS:
        return batches_ahead(step_batches, first, last)
    return nullcontext(map(step_batches.batches, range(first, last)))


def _optimiser(
    objective: nn.Module, config: TrainingConfig, steps: int
) -> tuple[torch.optim.AdamW, torch.optim.lr_scheduler.LambdaLR]:
    """AdamW, with a learning rate that rises over a twentieth of the steps and decays by a cosine over the rest."""
    optimiser = torch.optim.AdamW(objective.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    warm = max(1, steps // 20)

    def share(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + float(np.cos(np.pi * min(1.0, (step - warm) / max(1, steps - warm))))) + 1e-3

    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, share)


def identity(data: TrainingData, step_batches: StepBatches) -> dict[str, Any]:
    """What determines a run besides its length: settings, tasks, rows, and the tasks taught by trees."""
    dataset = data.dataset
    rows = {"dataset": f"{dataset.name} {fingerprint(dataset)}", "parts": list(data.parts), "tasks": data.tasks}
    return {**rows, "taught": taught_tasks(step_batches), "config": data.config.to_json()}


def taught_tasks(step_batches: StepBatches) -> list[str]:
    """Tasks whose slates carry scores of boosted trees."""
    return sorted({ranking.context.task for ranking in step_batches.rankings if ranking.taught is not None})
