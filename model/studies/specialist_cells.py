"""The cells of the study of specialists: each specialist tuned on validation and evaluated on test, then our networks.

Each specialist is tuned by its own main metric. Our network is in the list as *joint* and, per task, *alone*.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from model import features
from model.evaluation.protocols import Subject
from model.studies.cells import Cell, Result
from model.studies.network_cells import network_cell, settle_steps
from model.studies.protocols import answers
from model.studies.specialists import SPECIALISTS, Settings, Specialist, trees_on_features
from model.studies.study_data import StudyData


def specialist_cell(study: StudyData, specialist: Specialist) -> Cell:
    """The cell that tunes a specialist on validation, then evaluates it under the test protocols."""

    def run() -> Result:
        deciding = next(name for name in specialist.protocols if name in study.protocols["validation"])
        best, value, chosen = _tune(study, specialist, deciding)
        return {
            "task": specialist.task, "seed": 0, "chosen": chosen, "validation": {deciding: value},
            "protocols": {name: answers(ranked) for name, ranked in study.ranked(best, specialist.protocols).items()},
        }  # fmt: skip

    settings = {"grid": [dict(settings) for settings in specialist.grid], "protocols": specialist.protocols}
    if specialist.make is trees_on_features:
        settings["features"] = _source_of_features()  # other features are another specialist
    return Cell(specialist.name, settings, specialist.seconds, run)


def _source_of_features() -> list[str]:
    return [file.read_text(encoding="utf-8") for file in sorted(Path(features.__path__[0]).glob("*.py"))]


def _tune(study: StudyData, specialist: Specialist, deciding: str) -> tuple[Subject, float, Settings]:
    """The best model under one protocol of the validation part, its value there, and its settings."""
    best, best_value, chosen = None, -np.inf, {}
    for settings in specialist.grid:
        study.say(f"{specialist.name} {dict(settings)}")
        subject = specialist.make(study, settings)
        value = study.validation_value(subject, deciding)
        if value > best_value:
            best, best_value, chosen = subject, value, dict(settings)
    assert best is not None
    return best, best_value, chosen


def study_cells(study: StudyData, seeds: int) -> list[Cell]:
    """All cells, those that take longest last."""
    tasks = sorted({protocol.task for protocol in study.protocols["test"].values()})
    others = [specialist_cell(study, s) for s in SPECIALISTS if s.task in tasks]
    settle_steps(study)
    networks = [network_cell(study, task, seed) for seed in range(seeds) for task in (None, *tasks)]
    return others + networks
