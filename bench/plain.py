"""One ranking as a user would write it with a loaded model; all rivals share it. Knows no HTTP and no validation.

By default it runs the network eagerly on rows of the catalogue. With `UNIRANK_BENCH_FAST=1` it calls the scorer of
the service instead (table B). C = candidates.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from model.artefact.model import Artefact
from model.context.context import Context, FilledContext

FAST = "UNIRANK_BENCH_FAST"
Logits = NDArray[np.float32]
Scorer = Callable[[Artefact, FilledContext, Sequence[str]], Logits]


def plain_logits(artefact: Artefact, filled: FilledContext, entity_ids: Sequence[str]) -> Logits:
    """Logits [C] of the eager forward pass of the trained network."""
    catalogue = artefact.catalogue
    return catalogue.plain_logits(catalogue.encode_context(filled), catalogue.rows_of(entity_ids))


def fast_logits(artefact: Artefact, filled: FilledContext, entity_ids: Sequence[str]) -> Logits:
    """Logits [C] of the scorer of the service."""
    return artefact.score(filled, entity_ids)


class PlainRanking:
    """Ranks the candidates of a context with a loaded model, best first."""

    def __init__(self, artefact: Artefact, logits: Scorer = plain_logits) -> None:
        self.artefact = artefact
        self._logits = logits

    @classmethod
    def load(cls, model: Path) -> PlainRanking:
        """Load a model folder for one thread; the environment selects the scorer."""
        torch.set_num_threads(1)
        return cls(Artefact.load(model), fast_logits if os.environ.get(FAST) == "1" else plain_logits)

    def fill(self, context: Context) -> FilledContext:
        """The context with its user's history, after imputation. Raises `MissingFieldError`."""
        history = self.artefact.history(context.user_id) if context.user_id else ()
        return self.artefact.fill(replace(context, history=history))

    def logits(self, filled: FilledContext, entity_ids: Sequence[str]) -> Logits:
        """Logits [C]. Raises `KeyError` for an id that is not in the catalogue."""
        return self._logits(self.artefact, filled, entity_ids)

    def rank(self, context: Context, entity_ids: Sequence[str]) -> list[tuple[str, float]]:
        """Ids and calibrated scores from best to worst, ties by input order."""
        filled = self.fill(context)
        logits = self.logits(filled, entity_ids)
        places = np.argsort(-logits, kind="stable")
        scores = self.artefact.probability(filled.context, logits[places])
        return [(entity_ids[place], score) for place, score in zip(places.tolist(), scores.tolist(), strict=True)]
