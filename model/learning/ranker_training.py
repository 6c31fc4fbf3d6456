"""How the ranker is trained: its losses, optimiser, batches and validation, put into the loop of `trainer.py`."""

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
from model.learning.batches import TrainingBatch, context_batch
from model.learning.calibration import Calibration
from model.learning.losses import binary_loss, softmax_loss
from model.learning.step_batches import StepBatches, taught_rankings
from model.learning.trained_rows import fingerprint
from model.learning.trainer import History, Report, Trainer
from model.learning.training_data import TrainingData
from model.learning.validation import Validation
from model.network.ranker import Ranker

WORTH_A_PROCESS = 100  # steps; fewer are done before a process for their batches would have paid


@dataclass(slots=True)
class TrainingResult:
    """The best network of a run, its calibration, and how it got there."""

    ranker: Ranker
    calibration: Calibration
    history: History
    best_step: int
    taught: list[str]  # tasks whose slates boosted trees taught


class RankingObjective(nn.Module):
    """The loss of one step: the mean over the contexts of a batch of each task.

    The network is rewarded for the order of a slate (softmax), for the probability of each label (binary), and for
    the order of its dot product alone, by which candidates are found (softmax).
    """

    def __init__(self, ranker: Ranker, tasks: Sequence[str], judged: Collection[str], config: TrainingConfig) -> None:
        super().__init__()
        self.ranker = ranker
        self.tasks = tasks  # of the batches, in their order
        self.judged = judged  # tasks with labels of what was passed over: what is drawn at random is then no label
        self.config = config

    def forward(self, batches: Sequence[TrainingBatch]) -> Tensor:
        """One batch a task → scalar."""
        losses = [self._loss(batch, task) for batch, task in zip(batches, self.tasks, strict=True)]
        total = torch.stack([loss * len(b.contexts) for loss, b in zip(losses, batches, strict=True)]).sum()
        return total / sum(len(batch.contexts) for batch in batches)

    def _loss(self, batch: TrainingBatch, task: str) -> Tensor:
        vectors = self.ranker.entity_vectors(batch.entities)
        context = context_batch(batch, vectors)
        encoded, events = self.ranker.encode_contexts(context)
        candidates = vectors[batch.candidates]
        logits = self.ranker.score_encoded(context, encoded, events, candidates, batch.features)
        near = self.ranker.retrieval_logits(context, encoded, candidates, batch.affinity)
        labelled_rows = batch.mask & batch.shown if task in self.judged else batch.mask
        return (
            softmax_loss(logits, batch.targets, batch.mask, batch.log_q)
            + self.config.bce_weight * binary_loss(logits, batch.labels, labelled_rows)
            + self.config.retrieval_weight * softmax_loss(near, batch.labels, batch.mask, batch.log_q)
        )


def steps_for(config: TrainingConfig, prepared: TrainingData) -> int:
    """Steps of a run: as configured, else from the number of positive rows."""
    if config.steps:
        return config.steps
    positives = sum(int((ranking.labels > 0).sum()) for ranking in prepared.rankings)
    return int(np.clip(positives / 75, 200, 900))


def train(
    prepared: TrainingData,
    steps: int,
    folder: Path | None = None,
    resume: bool = False,
    report: Report = lambda *_: None,
    device: str = "cpu",
) -> TrainingResult:
    """Train for `steps` steps on a device. `folder` takes checkpoints; with `resume` a run goes on from the last one.

    Raises `CheckpointError` where there is none to go on from, or it is of another run.
    """
    torch.manual_seed(prepared.config.seed)
    numbered = StepBatches(prepared, taught_rankings(prepared))
    objective = _objective(prepared, numbered)
    validation = Validation(prepared)
    trainer = _trainer(objective, numbered, steps, validation, report, device)
    run = identity(prepared, numbered) if folder is not None else None
    ranker = trainer.fit(folder, run, resume).ranker
    return TrainingResult(
        ranker, validation.calibrate(ranker), trainer.history, trainer.best_step, taught_tasks(numbered)
    )


def _objective(prepared: TrainingData, numbered: StepBatches) -> RankingObjective:
    """The objective of a new network whose features are scaled by a sample of them."""
    ranker = prepared.ranker()
    ranker.features.fit(numbered.feature_samples())
    judged = {ranking.context.task for ranking in prepared.rankings if (ranking.labels <= 0).any()}
    return RankingObjective(ranker, numbered.tasks, judged, prepared.config.training)


def _trainer(
    objective: RankingObjective, numbered: StepBatches, steps: int, validation: Validation, report: Report, device: str
) -> Trainer[RankingObjective]:
    """The loop of a run: all that the configuration says of it."""
    config = numbered.prepared.config
    optimiser, schedule = _optimiser(objective, config.training, steps)
    every = max(1, steps // config.training.evaluations)
    return Trainer(
        objective=objective, steps=steps, batches=lambda first, last: _batches(numbered, first, last),
        optimiser=optimiser, schedule=schedule, clip=1.0, average=config.training.average,
        validate=lambda judged: validation.value(judged.ranker), validate_at={*range(every, steps, every), steps},
        seed=config.seed, device=device, report=report,
    )  # fmt: skip


def _batches(numbered: StepBatches, first: int, last: int) -> AbstractContextManager[Iterable[list[TrainingBatch]]]:
    """The batches of some steps; of many, made by a process ahead of the learner: threads would share one core."""
    if last - first >= WORTH_A_PROCESS:
        return batches_ahead(numbered, first, last)
    return nullcontext(map(numbered.batches, range(first, last)))


def _optimiser(
    objective: nn.Module, config: TrainingConfig, steps: int
) -> tuple[torch.optim.AdamW, torch.optim.lr_scheduler.LambdaLR]:
    """AdamW, with a rate that rises over a twentieth of the steps and falls by a cosine over the rest."""
    optimiser = torch.optim.AdamW(objective.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    warm = max(1, steps // 20)

    def share(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + float(np.cos(np.pi * min(1.0, (step - warm) / max(1, steps - warm))))) + 1e-3

    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, share)


def identity(prepared: TrainingData, numbered: StepBatches) -> dict[str, Any]:
    """What shapes a run beside its length: settings, tasks, the rows themselves, and what trees taught."""
    dataset = prepared.dataset
    rows = {"dataset": f"{dataset.name} {fingerprint(dataset)}", "parts": list(prepared.parts), "tasks": prepared.tasks}
    return {**rows, "taught": taught_tasks(numbered), "config": prepared.config.to_json()}


def taught_tasks(numbered: StepBatches) -> list[str]:
    """Tasks with slates that boosted trees taught."""
    return sorted({ranking.context.task for ranking in numbered.rankings if ranking.taught is not None})
