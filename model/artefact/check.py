"""Checks of a loaded model before it serves: scores as at training time, finite and distinct scores, speed.

`reading.py` checks files, checksums, shapes and finite weights.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from model.artefact.golden import GoldenRequest
from model.artefact.model import Artefact, ArtefactError
from model.context.context import Context, FilledContext
from model.context.imputation import MissingFieldError

TOLERANCE = 1e-3  # of a probability: processors differ in the order of summation
SPREAD = 1e-6  # least standard deviation of logits
CANDIDATES = 500


def check(artefact: Artefact, limit_s: float) -> None:
    """Run the golden requests and one ranking per task.

    Raises `ArtefactError` where golden requests get other scores, where the scores of a task are all equal or not
    finite, or where a ranking of 500 candidates takes longer than `limit_s` seconds.
    """
    for number, entry in enumerate(artefact.contents.golden):
        _check_golden(artefact, number, entry)
    for task in artefact.tasks:
        _check_task(artefact, task, limit_s)


def _check_golden(artefact: Artefact, number: int, entry: object) -> None:
    try:
        golden = GoldenRequest.of(entry)
        logits = _logits(artefact, artefact.fill(golden.context), golden.candidates)
        scores = artefact.probability(golden.context, logits)
    except (LookupError, TypeError, ValueError) as error:
        raise ArtefactError(f"golden request {number}: {type(error).__name__}: {error}") from error
    expected = np.array(golden.scores, np.float64)
    if scores.shape != expected.shape or not np.allclose(scores, expected, rtol=0, atol=TOLERANCE, equal_nan=False):
        raise ArtefactError(f"golden request {number}: the scores are not those of the model when it was made")


def _check_task(artefact: Artefact, task: str, limit_s: float) -> None:
    ids = artefact.catalogue.ids[:: max(1, len(artefact.catalogue.ids) // CANDIDATES)][:CANDIDATES]
    try:
        filled = artefact.fill(Context(task, query=artefact.catalogue.names[ids[0]], source_entity_id=ids[0]))
    except MissingFieldError as error:
        raise ArtefactError(f"task {task}: {error}") from error
    logits = _logits(artefact, filled, ids)
    started = time.perf_counter()
    _logits(artefact, filled, ids)
    took_s = time.perf_counter() - started
    if not np.isfinite(logits).all():
        raise ArtefactError(f"task {task}: {int((~np.isfinite(logits)).sum())} of {len(ids)} scores are not finite")
    if len(ids) > 1 and float(logits.std()) < SPREAD:
        raise ArtefactError(f"task {task}: {len(ids)} entities have the same score")
    if took_s > limit_s:
        raise ArtefactError(f"task {task}: {len(ids)} candidates take {took_s:.2f} s, longer than {limit_s:g} s")


def _logits(artefact: Artefact, filled: FilledContext, ids: Sequence[str]) -> np.ndarray:
    try:
        return artefact.score(filled, ids)
    except (LookupError, RuntimeError, ValueError) as error:
        raise ArtefactError(f"it cannot rank: {type(error).__name__}: {' '.join(str(error).split())}") from error
