"""The cells of the study of specialists: each specialist tuned on validation and asked on test, then our networks.

Every specialist is chosen by its own main metric. Our network is in the list as *joint* and, once a task, *alone*.
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


def specialist_cell(world: StudyData, specialist: Specialist) -> Cell:
    """Choose a setting on validation, then answer the test protocols."""

    def run() -> Result:
        deciding = next(name for name in specialist.protocols if name in world.protocols["validation"])
        best, value, chosen = _tuned(world, specialist, deciding)
        return {
            "task": specialist.task, "seed": 0, "chosen": chosen, "validation": {deciding: value},
            "protocols": {name: answers(found) for name, found in world.ranked(best, specialist.protocols).items()},
        }  # fmt: skip

    settings = {"grid": [dict(settings) for settings in specialist.grid], "protocols": specialist.protocols}
    if specialist.make is trees_on_features:
        settings["features"] = _source_of_features()  # other features are another specialist
    return Cell(specialist.name, settings, specialist.seconds, run)


def _source_of_features() -> list[str]:
    return [file.read_text(encoding="utf-8") for file in sorted(Path(features.__path__[0]).glob("*.py"))]


def _tuned(world: StudyData, specialist: Specialist, deciding: str) -> tuple[Subject, float, Settings]:
    """The model that one protocol of the validation part likes best, its value there, and its settings."""
    best, best_value, chosen = None, -np.inf, {}
    for settings in specialist.grid:
        world.say(f"{specialist.name} {dict(settings)}")
        subject = specialist.make(world, settings)
        value = world.validation_value(subject, deciding)
        if value > best_value:
            best, best_value, chosen = subject, value, dict(settings)
    assert best is not None
    return best, best_value, chosen


def study_cells(world: StudyData, seeds: int) -> list[Cell]:
    """All cells, those that take longest last."""
    tasks = sorted({protocol.task for protocol in world.protocols["test"].values()})
    others = [specialist_cell(world, s) for s in SPECIALISTS if s.task in tasks]
    settle_steps(world)
    networks = [network_cell(world, task, seed) for seed in range(seeds) for task in (None, *tasks)]
    return others + networks
