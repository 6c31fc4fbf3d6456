"""Our network as cells of a study: on all tasks (*joint*) or on one (*alone*), trained, then asked and calibrated.

*Alone* is the same network and as many steps, with that task's events and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from model.context.context import HOMEPAGE
from model.evaluation.metrics import ece
from model.evaluation.network_subject import NetworkSubject
from model.evaluation.protocols import RankingResults, Subject
from model.learning.calibration import Calibration
from model.learning.ranker_training import TrainingResult, steps_for, train
from model.learning.training_data import TrainingData, prepare
from model.learning.validation import subject_of
from model.studies.asked_without import missing_inputs
from model.studies.cells import Cell, Result
from model.studies.protocols import answers
from model.studies.specialists_report import ALONE, JOINT
from model.studies.study_data import StudyData
from model.studies.subjects import OwnEvents, Without

NOTHING: Mapping[str, Any] = MappingProxyType({})
CALIBRATION_BINS = 10
NETWORK_SECONDS = 600.0


def network_cell(world: StudyData, task: str | None, seed: int, share: float = 1.0, name: str | None = None) -> Cell:
    """Our network on all tasks (`task` None) or on one; `share` of the steps, and then two such runs make a claim."""
    config = replace(world.config, seed=seed)
    label = name or (JOINT if task is None else ALONE.format(task))

    def run() -> Result:
        prepared = prepare(world.dataset, config, None if task is None else [task], say=world.say)
        trained = train_share(world, prepared, share, label)
        return network_result(world, prepared, trained, task, ask_less=task is None and seed == 0)

    settings = {"config": asdict(config), "task": task, "share": share, "protocols": sorted(_protocols(world, task))}
    return Cell(label, settings, NETWORK_SECONDS * share, run)


def train_share(world: StudyData, prepared: TrainingData, share: float, label: str) -> TrainingResult:
    """Train for a share of the configured steps; every 50th is said."""
    config = prepared.config

    def report(step: int, of: int, note: str) -> None:
        if step % 50 == 0:
            world.say(f"{label} seed {config.seed}: step {step} of {of}")

    return train(prepared, max(1, round(share * config.training.steps)), report=report)


def network_result(
    world: StudyData,
    prepared: TrainingData,
    trained: TrainingResult,
    task: str | None,
    nulls: Mapping[str, Any] = NOTHING,
    ask_less: bool = False,
) -> Result:
    """Answers of a trained network to the test protocols of its task, or of all.

    `nulls` are fields it is not given; `ask_less` also asks without imputation and without the person.
    """
    whole = subject_of(trained.ranker, prepared)
    network: Subject = Without(whole, **nulls) if nulls else whole
    found = world.ranked(network if task is None else OwnEvents(network, task), _protocols(world, task))
    best = next((values for step, _, values in trained.history.validations if step == trained.best_step), {})
    return {
        "task": task, "seed": prepared.config.seed, "chosen": {}, "validation": best,
        "protocols": {name: answers(ranked) for name, ranked in found.items()},
        "asked without": _asked_without(world, whole, prepared) if ask_less else {},
        "calibration": _calibration(world, found, trained.calibration),
        "curves": {"losses": trained.history.losses[::5], "validations": trained.history.validations},
    }  # fmt: skip


def _protocols(world: StudyData, task: str | None) -> list[str]:
    """Names of the test protocols of one task, or of all."""
    return [protocol.name for protocol in world.protocols["test"].values() if task in (None, protocol.task)]


def _asked_without(world: StudyData, network: NetworkSubject, prepared: TrainingData) -> dict[str, Any]:
    """Answers to the protocols in which less can be told, by what is missing and protocol."""
    result = {}
    for missing in missing_inputs(prepared.rules):
        names = [p.name for p in world.protocols["test"].values() if p.task in missing.tasks]
        chosen = [name for name in names if missing.protocols is None or name in missing.protocols]
        asked = world.ranked(missing.subject(network), chosen)
        result[missing.name] = {name: answers(ranked) for name, ranked in asked.items()}
    return result


def _calibration(world: StudyData, found: Mapping[str, RankingResults], calibration: Calibration) -> dict[str, Any]:
    """Stated against observed on the labelled rows of the test part, once a task."""
    result = {}
    for name, ranked in found.items():
        protocol = world.protocols["test"][name]
        if name not in ("slates", HOMEPAGE):
            continue
        p = calibration.probability(protocol.task, np.concatenate(ranked.logits))
        labels = np.concatenate(ranked.labels)
        result[protocol.task] = {"ece": ece(p, labels), "bins": _bins(p, labels > 0)}
    return result


def _bins(p: np.ndarray, positive: np.ndarray) -> list[dict[str, float]]:
    place = np.minimum((p * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    return [
        {"predicted": float(p[own].mean()), "observed": float(positive[own].mean()), "count": int(own.sum())}
        for own in (place == number for number in range(CALIBRATION_BINS))
        if own.any()
    ]


def settle_steps(world: StudyData) -> None:
    """Where the configuration leaves the number of steps to the dataset, ask it once: all networks take as many."""
    config = world.config
    if not config.training.steps:
        steps = steps_for(config.training, prepare(world.dataset, config, say=world.say))
        world.config = replace(config, training=replace(config.training, steps=steps))
