"""A catalogue as it is served: only what the model itself proposes for a context is scored. Measures nothing."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model.context.context import Context, FilledContext
from model.network.catalogue import CatalogueRanker
from model.network.collate import EncodedContext

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
PROPOSALS = 500  # the service's own default


class Proposing(Protocol):
    """The part of a loaded artefact that proposes candidates: the functions that the service calls."""

    @property
    def catalogue(self) -> CatalogueRanker:
        """Its catalogue."""

    def fill(self, context: Context) -> FilledContext:
        """Impute the missing fields."""

    def encode_context(self, filled: FilledContext) -> EncodedContext:
        """Encode a context."""

    def propose(self, context: EncodedContext, limit: int, exclude: Collection[str], seen: Ints | None) -> list[str]:
        """At most `limit` ids."""


class ServedSubject:
    """Scores the `limit` proposals of a context; all other rows of the catalogue get −∞, which no metric counts.

    `rows` are those of the catalogue under evaluation, which may hold entities that the model does not know; it never
    proposes these.
    """

    def __init__(self, model: Proposing, catalogue: CatalogueRanker, limit: int = PROPOSALS) -> None:
        self._model = model
        self._limit = limit
        self.rows = catalogue.rows
        self._count = len(catalogue.ids)

    def score(self, context: Context, rows: Ints | None) -> Floats:
        """Logits of the proposals, by row of the catalogue, without the entities of the history; or of given rows."""
        encoded = self._model.encode_context(self._model.fill(context))
        if rows is None:
            seen = self._model.catalogue.find([event.entity_id for event in context.history])
            proposed = self._model.propose(encoded, self._limit, (), seen[seen >= 0])
            rows = self._model.catalogue.rows_of(proposed)
            scores = np.full(self._count, -np.inf)
            scores[rows] = self._model.catalogue.logits(encoded, rows)
            return scores
        return self._model.catalogue.logits(encoded, rows).astype(np.float64)
