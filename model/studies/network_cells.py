"""Our network as cells of a study: on all tasks (*joint*) or on one (*alone*), trained, evaluated and calibrated.

*Alone* is the same network with as many steps, on the events of that task only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from model.artefact.build import served_contents_of
from model.artefact.model import Artefact
from model.context.context import HOMEPAGE
from model.evaluation.metrics import ece
from model.evaluation.network_subject import NetworkSubject
from model.evaluation.protocols import RankingResults, Subject
from model.evaluation.served import ServedSubject
from model.learning.calibration import Calibration
from model.learning.ranker_training import TrainingResult, steps_for, train
from model.learning.training_data import TrainingData, prepare
from model.learning.validation import subject_of
from model.studies.cells import Cell, Result
from model.studies.missing_inputs import missing_inputs
from model.studies.protocols import answers
from model.studies.specialists_report import ALONE, JOINT
from model.studies.study_data import StudyData
from model.studies.subjects import OwnEvents, WithNulls

NOTHING: Mapping[str, Any] = MappingProxyType({})
CALIBRATION_BINS = 10
NETWORK_SECONDS = 600.0


def network_cell(study: StudyData, task: str | None, seed: int, share: float = 1.0, name: str | None = None) -> Cell:
    """Our network on all tasks (`task` None) or on one. With a `share` of the steps, claims need two such runs."""
    config = replace(study.config, seed=seed)
    label = name or (JOINT if task is None else ALONE.format(task))

    def run() -> Result:
        data = prepare(study.dataset, config, None if task is None else [task], say=study.say)
        training = train_share(study, data, share, label)
        joint = task is None
        return network_result(study, data, training, task, ask_less=joint and seed == 0, serve=joint)

    settings = {"config": asdict(config), "task": task, "share": share, "protocols": sorted(_protocols(study, task))}
    return Cell(label, settings, NETWORK_SECONDS * share, run)


def train_share(study: StudyData, data: TrainingData, share: float, label: str) -> TrainingResult:
    """Train for a share of the configured steps; reports every 50th."""
    config = data.config

    def report(step: int, total: int, note: str) -> None:
        if step % 50 == 0:
            study.say(f"{label} seed {config.seed}: step {step} of {total}")

    return train(data, max(1, round(share * config.training.steps)), report=report)


def network_result(
    study: StudyData,
    data: TrainingData,
    training: TrainingResult,
    task: str | None,
    nulls: Mapping[str, Any] = NOTHING,
    ask_less: bool = False,
    serve: bool = False,
) -> Result:
    """Results of a trained network under the test protocols of its task, or of all.

    `nulls` = fields to leave null; `ask_less` adds results without imputation and without the user, `serve` those of
    the whole catalogue as the service ranks it, from its own proposals.
    """
    full = subject_of(training.ranker, data)
    network: Subject = WithNulls(full, **nulls) if nulls else full
    results = study.ranked(network if task is None else OwnEvents(network, task), _protocols(study, task))
    best = next((values for step, _, values in training.history.validations if step == training.best_step), {})
    return {
        "task": task, "seed": data.config.seed, "chosen": {}, "validation": best,
        "protocols": {name: answers(ranked) for name, ranked in results.items()},
        "asked without": _results_without_inputs(study, full, data) if ask_less else {},
        "served": _served_results(study, data, training) if serve else {},
        "calibration": _calibration(study, results, training.calibration),
        "curves": {"losses": training.history.losses[::5], "validations": training.history.validations},
    }  # fmt: skip


def _protocols(study: StudyData, task: str | None) -> list[str]:
    """Names of the test protocols of one task, or of all."""
    return [protocol.name for protocol in study.protocols["test"].values() if task in (None, protocol.task)]


def _results_without_inputs(study: StudyData, network: NetworkSubject, data: TrainingData) -> dict[str, Any]:
    """Results of the affected protocols without some inputs: missing input → protocol → results."""
    result = {}
    for missing in missing_inputs(data.rules):
        names = [p.name for p in study.protocols["test"].values() if p.task in missing.tasks]
        affected = [name for name in names if missing.protocols is None or name in missing.protocols]
        rankings = study.ranked(missing.subject(network), affected)
        result[missing.name] = {name: answers(ranked) for name, ranked in rankings.items()}
    return result


def _served_results(study: StudyData, data: TrainingData, training: TrainingResult) -> dict[str, Any]:
    """Results of the protocols of the whole catalogue over the proposals of the service: protocol → results."""
    artefact = Artefact(served_contents_of(data, training, study.say))
    names = [p.name for p in study.protocols["test"].values() if not p.slates and not p.met]
    ranked = study.ranked(ServedSubject(artefact, artefact.catalogue), names)
    return {name: answers(results) for name, results in ranked.items()}


def _calibration(study: StudyData, results: Mapping[str, RankingResults], calibration: Calibration) -> dict[str, Any]:
    """Stated against observed probabilities on the labelled rows of the test part, per task.

    `ece_one_curve`: the error with one curve for all tasks instead of one for each.
    """
    result = {}
    for name, ranked in results.items():
        protocol = study.protocols["test"][name]
        if name not in ("slates", HOMEPAGE):
            continue
        task, labels = protocol.task, np.concatenate(ranked.labels)
        p = np.concatenate(ranked.probabilities(task, calibration))
        result[task] = {"ece": ece(p, labels), "bins": _bins(p, labels > 0)}
        if calibration.shared:
            one = Calibration({task: calibration.shared})
            result[task]["ece_one_curve"] = ece(np.concatenate(ranked.probabilities(task, one)), labels)
    return result


def _bins(p: np.ndarray, positive: np.ndarray) -> list[dict[str, float]]:
    bins = np.minimum((p * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    return [
        {"predicted": float(p[in_bin].mean()), "observed": float(positive[in_bin].mean()), "count": int(in_bin.sum())}
        for in_bin in (bins == number for number in range(CALIBRATION_BINS))
        if in_bin.any()
    ]


def settle_steps(study: StudyData) -> None:
    """If the number of steps depends on the dataset, set it once, so that all networks take as many steps."""
    config = study.config
    if not config.training.steps:
        steps = steps_for(config.training, prepare(study.dataset, config, say=study.say))
        study.config = replace(config, training=replace(config.training, steps=steps))
