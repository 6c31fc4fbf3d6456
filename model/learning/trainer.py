"""Training: seeded steps over all tasks, best state by validation, resumable. Writes only its own checkpoint."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.config import Config, TrainingConfig
from model.context.context import Context
from model.evaluation.protocols import Ranked, rank_catalogue, rank_slates
from model.events.timelines import Unit, timelines, units
from model.learning import checkpoint
from model.learning.batch_process import batches_ahead
from model.learning.batches import TrainingBatch, context_batch
from model.learning.calibration import Calibration, fit_curve
from model.learning.losses import binary_loss, softmax_loss
from model.learning.prepared import Prepared, part_rows, rankable
from model.learning.steps import Steps, taught_units
from model.learning.trained_rows import fingerprint
from model.network.catalogue import CatalogueRanker
from model.network.ranker import Ranker
from model.network.scorer import Scorer

Report = Callable[[int, int, str], None]  # step, of steps, a line to show
WORTH_A_PROCESS = 100  # steps; fewer are done before a process for their batches would have paid


@dataclass(slots=True)
class History:
    """What a run went through: losses and validation metrics by step."""

    losses: list[tuple[int, float]] = field(default_factory=list)
    validations: list[tuple[int, float, dict[str, float]]] = field(default_factory=list)


@dataclass(slots=True)
class Trained:
    """The best network of a run, its calibration, and how it got there."""

    ranker: Ranker
    calibration: Calibration
    history: History
    best_step: int


class NetworkSubject:
    """A network as `evaluation` sees it: scores are logits."""

    def __init__(self, catalogue: CatalogueRanker) -> None:
        self.catalogue = catalogue
        self.rows = catalogue.rows

    def score(self, context: Context, rows: np.ndarray | None) -> np.ndarray:
        """Logits of the named rows, or of the whole catalogue."""
        encoded = self.catalogue.encode(self.catalogue.fill(context))
        return self.catalogue.logits(encoded, rows).astype(np.float64)


def subject_of(ranker: Ranker, prepared: Prepared) -> NetworkSubject:
    """A network over the catalogue that it trains on, with vectors as they are now."""
    scorer = Scorer(ranker, prepared.contexts())
    vectors = scorer.vectors(prepared.arrays, range(len(prepared.ids)))
    records = prepared.records(-1, vectors)
    return NetworkSubject(CatalogueRanker(scorer, prepared.ids, prepared.names, records, prepared.rules))


def steps_for(config: TrainingConfig, prepared: Prepared) -> int:
    """Steps of a run: as configured, else from the number of positive rows."""
    if config.steps:
        return config.steps
    positives = sum(int((unit.labels > 0).sum()) for unit in prepared.units)
    return int(np.clip(positives / 75, 200, 900))


def train(
    prepared: Prepared,
    steps: int,
    folder: Path | None = None,
    resume: bool = False,
    report: Report = lambda *_: None,
) -> Trained:
    """Train for `steps` steps. `folder` takes checkpoints; with `resume` a run goes on from the last one."""
    run = _Run(prepared, steps, report)
    if resume and folder is not None:
        run.load(folder)
    run.loop(folder)
    return run.finish()


class _Run:
    """The moving parts of one training run."""

    def __init__(self, prepared: Prepared, steps: int, report: Report) -> None:
        self.prepared, self.steps, self.report = prepared, steps, report
        self.config: Config = prepared.config
        torch.manual_seed(self.config.seed)
        self.numbered = Steps(prepared, taught_units(prepared))
        self.ranker = prepared.ranker()
        self.ranker.features.fit(self.numbered.feature_samples())
        self.optimiser, self.schedule = _optimiser(self.ranker, self.config.training, steps)
        self.validation = Validation(prepared)
        self.judged = {u.context.task for u in prepared.units if (u.labels <= 0).any()}
        self.averaged = copy.deepcopy(self.ranker).requires_grad_(False)
        self.step, self.best_value, self.best_step = 0, -np.inf, 0
        self.best = _state(self.ranker)
        self.history = History()

    def loop(self, folder: Path | None) -> None:
        every = max(1, self.steps // self.config.training.evaluations)
        with self._batches() as each:
            for batches in each:
                loss = self._learn(batches)
                self.step += 1
                self.history.losses.append((self.step, loss))
                self.report(self.step, self.steps, f"loss {loss:.3f}")
                if self.step % every == 0 or self.step == self.steps:
                    self._validate()
                    if folder is not None and self.step < self.steps:
                        self.save(folder)

    def _batches(self) -> AbstractContextManager[Iterable[list[TrainingBatch]]]:
        """The batches of each step left, made by a process ahead of the learner: threads would share one core."""
        if self.steps - self.step >= WORTH_A_PROCESS:
            return batches_ahead(self.numbered, self.step, self.steps)
        return nullcontext(map(self.numbered.batches, range(self.step, self.steps)))

    def _learn(self, batches: Sequence[TrainingBatch]) -> float:
        self.ranker.train()
        torch.manual_seed(self.config.seed * 1_000_003 + self.step)
        losses = [self._loss(batch, task) for batch, task in zip(batches, self.numbered.tasks, strict=True)]
        total = torch.stack([loss * len(b.contexts) for loss, b in zip(losses, batches, strict=True)]).sum()
        loss = total / sum(len(batch.contexts) for batch in batches)
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.ranker.parameters(), 1.0)
        self.optimiser.step()
        self.schedule.step()
        self._average()
        return float(loss.detach())

    def _average(self) -> None:
        """Move the running mean of the weights; early steps count less than the decay would have it."""
        decay = min(self.config.training.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mean, weight in zip(self.averaged.parameters(), self.ranker.parameters(), strict=True):
                mean.lerp_(weight, 1 - decay)

    def _loss(self, batch: TrainingBatch, task: str) -> Tensor:
        config = self.config.training
        vectors = self.ranker.entity_vectors(batch.entities)
        context = context_batch(batch, vectors)
        encoded, events = self.ranker.encode(context)
        candidates = vectors[batch.candidates]
        logits = self.ranker.score_encoded(context, encoded, events, candidates, batch.features)
        near = self.ranker.retrieval_logits(context, encoded, candidates, batch.affinity)
        labelled_rows = batch.mask & batch.shown if task in self.judged else batch.mask
        return (
            softmax_loss(logits, batch.targets, batch.mask, batch.log_q)
            + config.bce_weight * binary_loss(logits, batch.labels, labelled_rows)
            + config.retrieval_weight * softmax_loss(near, batch.labels, batch.mask, batch.log_q)
        )

    def _validate(self) -> None:
        value, values = self.validation.value(self.averaged)
        value = value if values else float(self.step)  # nothing to choose by: the last state is the best
        self.history.validations.append((self.step, value, values))
        self.report(self.step, self.steps, "validation " + "  ".join(f"{k} {v:.4f}" for k, v in values.items()))
        if value > self.best_value:
            self.best_value, self.best_step, self.best = value, self.step, _state(self.averaged)

    def finish(self) -> Trained:
        """The best network, calibrated on validation rows."""
        self.ranker.load_state_dict(self.best)
        self.ranker.eval()
        return Trained(self.ranker, self.validation.calibrate(self.ranker), self.history, self.best_step)

    def save(self, folder: Path) -> None:
        """Write the whole state of the run."""
        position = {
            "run": self._identity, "step": self.step, "best_step": self.best_step, "best_value": self.best_value,
            "losses": self.history.losses, "validations": self.history.validations,
        }  # fmt: skip
        networks = {"now": self.ranker.state_dict(), "mean": self.averaged.state_dict(), "best": self.best}
        checkpoint.save(folder, networks, self.optimiser.state_dict(), position)

    @cached_property
    def _identity(self) -> dict[str, Any]:
        """What must be equal for a checkpoint to be of this run."""
        return {"steps": self.steps, **identity(self.prepared)}

    def load(self, folder: Path) -> None:
        """Go on from a saved state. Raises `CheckpointError` where it belongs to another run."""
        saved = checkpoint.load(folder, self.optimiser.state_dict())
        there, here = saved.position.get("run", {}), self._identity
        if there.get("steps") != here["steps"]:
            raise checkpoint.CheckpointError(
                f"{folder}: the checkpoint is of a run of {there.get('steps')} steps, this one has {here['steps']}"
            )
        checkpoint.refuse_other(folder, there, here)
        self.ranker.load_state_dict(saved.networks["now"])
        self.averaged.load_state_dict(saved.networks["mean"])
        self.best = saved.networks["best"]
        self.optimiser.load_state_dict(saved.optimiser)
        self.step, self.best_step = saved.position["step"], saved.position["best_step"]
        self.best_value = saved.position["best_value"]
        self.history.losses = [tuple(entry) for entry in saved.position["losses"]]
        self.history.validations = [tuple(entry) for entry in saved.position["validations"]]
        self.schedule.last_epoch = self.step
        for group, base in zip(self.optimiser.param_groups, self.schedule.base_lrs, strict=True):
            group["lr"] = base * self.schedule.lr_lambdas[0](self.step)


def identity(prepared: Prepared) -> dict[str, Any]:
    """What shapes a run beside its length: settings, tasks and the rows themselves."""
    dataset = prepared.dataset
    rows = {"dataset": f"{dataset.name} {fingerprint(dataset)}", "parts": list(prepared.parts), "tasks": prepared.tasks}
    return {**rows, "config": prepared.config.to_json()}


def _optimiser(
    ranker: Ranker, config: TrainingConfig, steps: int
) -> tuple[torch.optim.AdamW, torch.optim.lr_scheduler.LambdaLR]:
    optimiser = torch.optim.AdamW(ranker.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    warm = max(1, steps // 20)

    def share(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + float(np.cos(np.pi * min(1.0, (step - warm) / max(1, steps - warm))))) + 1e-3

    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, share)


def _state(ranker: Ranker) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in ranker.state_dict().items()}


class Validation:
    """Ranks validation rows: a sample for choosing the best step, and the labelled rows for calibration."""

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        events = prepared.dataset.events
        held = part_rows(events, ("validation",)) if "validation" not in prepared.parts else events.clear()
        held = held.filter(held["task"].is_in(prepared.tasks))
        self.histories = timelines(part_rows(events, prepared.parts))
        self.every = rankable(units(held), prepared.rules)
        self.units = self._sample(self.every)

    def _sample(self, every: list[Unit]) -> list[Unit]:
        """At most `validation_rankings` slates a task; catalogue rankings cost more, so a third of that."""
        most = self.prepared.config.training.validation_rankings
        rng = np.random.default_rng([self.prepared.config.seed, 2**31 + 1])
        chosen: list[Unit] = []
        for task in self.prepared.tasks:
            for slate in (True, False):
                group = [u for u in every if u.context.task == task and u.slate == slate and (u.labels > 0).any()]
                limit = most if slate else most // 3
                chosen += [group[i] for i in sorted(rng.permutation(len(group))[:limit])]
        return chosen

    def rankings(self, ranker: Ranker) -> dict[str, tuple[Ranked, Ranked]]:
        """Slates and catalogue rankings of each task."""
        subject = subject_of(ranker, self.prepared)
        result = {}
        for task in self.prepared.tasks:
            mine = [unit for unit in self.units if unit.context.task == task]
            slates = rank_slates(subject, (u for u in mine if u.slate), self.histories, lambda: None)
            whole = rank_catalogue(subject, (u for u in mine if not u.slate), self.histories, lambda: None)
            result[task] = (slates, whole)
        return result

    def value(self, ranker: Ranker) -> tuple[float, dict[str, float]]:
        """Mean over tasks of NDCG@10, and each task's own (slates where there are any, else catalogue)."""
        values = {}
        for task, (slates, whole) in self.rankings(ranker).items():
            for label, ranked in (
                (task, slates),
                (task if not slates.groups else f"{task} catalogue", whole),
            ):
                if ranked.groups:
                    values[label] = float(np.nanmean(ranked.values["ndcg@10"]))
        main = [value for label, value in values.items() if not label.endswith(" catalogue")]
        return (float(np.mean(main)) if main else 0.0), values

    def calibrate(self, ranker: Ranker) -> Calibration:
        """A curve for each task on all its labelled validation rows; a line where there are few."""
        subject = subject_of(ranker, self.prepared)
        curves = {}
        for task in self.prepared.tasks:
            mine = (unit for unit in self.every if unit.context.task == task)
            ranked = rank_slates(subject, mine, self.histories, lambda: None)
            if ranked.logits:
                curves[task] = fit_curve(np.concatenate(ranked.logits), np.concatenate(ranked.labels))
        return Calibration(curves)
