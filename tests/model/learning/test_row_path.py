"""A training row passes from the sampler through eight files, in one direction: none is entered twice.

A judged search also draws negatives that share words with its query, for which the sampler asks the match features.
"""

from __future__ import annotations

import torch
from call_path import path_through

from model.context.context import HOMEPAGE
from model.learning.ranker_training import RankingObjective
from model.learning.step_batches import StepBatches
from model.learning.training_data import TrainingData

HERE = "tests/model/learning/test_row_path.py"  # makes one step
STEP = "model/learning/step_batches.py"  # draws and encodes its batches
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
    steps = StepBatches(prepared, [ranking for ranking in prepared.rankings if ranking.context.task == HOMEPAGE])
    steps.sampler.shares = {HOMEPAGE: 1}
    objective = RankingObjective(prepared.ranker(), steps.tasks, set(), prepared.config.training)
    objective(steps.batches(0))  # what is made once is made
    with path_through([HERE, STEP, *PATH]) as path:
        loss = objective(steps.batches(1))
    assert torch.isfinite(loss)
    assert [file for file in path if file in PATH] == PATH
