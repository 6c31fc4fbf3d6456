"""A training row passes from the sampler through eight files, in one direction: none is entered twice."""

from __future__ import annotations

import torch
from call_path import path_through

from model.learning.ranker_training import RankingObjective
from model.learning.step_batches import StepBatches
from model.learning.training_data import TrainingData

STEP = "model/learning/step_batches.py"  # draws and encodes the batches of one step
PATH = [
    "model/learning/sampling.py",
    "model/context/imputation.py",
    "model/learning/batches.py",
    "model/network/inputs.py",
    "model/features/match.py",
    "model/learning/ranker_training.py",
    "model/network/ranker.py",
    "model/learning/losses.py",
]


def test_a_row_passes_through_eight_files_each_entered_once(prepared: TrainingData) -> None:
    """Of the tasks of a step, the first is watched."""
    steps = StepBatches(prepared, prepared.rankings)
    objective = RankingObjective(prepared.ranker(), steps.tasks[:1], set(), prepared.config.training)
    objective(steps.batches(0)[:1])  # what is made once is made
    steps.tasks = steps.tasks[:1]
    with path_through([STEP, *PATH]) as path:
        loss = objective(steps.batches(1))
    assert torch.isfinite(loss)
    assert [file for file in path if file != STEP] == PATH
