"""One ranking as a user would write it around a loaded model; all rivals share it. Knows no HTTP and no validation.

The plain way runs the network eagerly over the rows of the catalogue. `UNIRANK_BENCH_FAST=1` calls the service's own
scorer instead (table B). C = candidates.
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
from model.context.context import Context
from model.context.imputation import FilledContext

FAST = "UNIRANK_BENCH_FAST"
Logits = NDArray[np.float32]
Scorer = Callable[[Artefact, FilledContext, Sequence[str]], Logits]


def plain_logits(artefact: Artefact, filled: FilledContext, entity_ids: Sequence[str]) -> Logits:
    """Logits [C] by the eager forward pass of the network as it was trained."""
    catalogue = artefact.catalogue
    return catalogue.plain_logits(catalogue.encode_context(filled), catalogue.rows_of(entity_ids))


def fast_logits(artefact: Artefact, filled: FilledContext, entity_ids: Sequence[str]) -> Logits:
    """Logits [C] by the scorer of the service."""
    return artefact.score(filled, entity_ids)


class PlainRanking:
    """A loaded model that answers a context and its candidates with ids and scores, best first."""

    def __init__(self, artefact: Artefact, logits: Scorer = plain_logits) -> None:
        self.artefact = artefact
        self._logits = logits

    @classmethod
    def load(cls, model: Path) -> PlainRanking:
        """Load a model folder for one thread; the environment says which scorer."""
        torch.set_num_threads(1)
        return cls(Artefact.load(model), fast_logits if os.environ.get(FAST) == "1" else plain_logits)

    def fill(self, context: Context) -> FilledContext:
        """The context with the history of its user and without gaps. Raises `MissingFieldError`."""
        history = self.artefact.history(context.user_id) if context.user_id else ()
        return self.artefact.fill(replace(context, history=history))

    def logits(self, filled: FilledContext, entity_ids: Sequence[str]) -> Logits:
        """Logits [C]. Raises `KeyError` on an id that is not in the catalogue."""
        return self._logits(self.artefact, filled, entity_ids)

    def rank(self, context: Context, entity_ids: Sequence[str]) -> list[tuple[str, float]]:
        """Ids and calibrated scores from best to worst, ties by input order."""
        logits = self.logits(self.fill(context), entity_ids)
        places = np.argsort(-logits, kind="stable")
        scores = self.artefact.probability(context.task, logits[places])
        return [(entity_ids[place], score) for place, score in zip(places.tolist(), scores.tolist(), strict=True)]
