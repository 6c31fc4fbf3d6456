"""A catalogue as it is served: only what the model itself proposes for a context is scored.

The metrics are those of the whole catalogue (`protocols.py`): what is not proposed counts as missed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model.context.context import Context, FilledContext
from model.evaluation.protocols import RankingResults, Step, intervals, rank_catalogue
from model.events.timelines import LabelledRanking, Timeline
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


def first_rows(model: Proposing, context: Context, count: int, seen: Ints | None = None) -> Ints:
    """Catalogue rows of the first `count` results of a context, as the service orders its own proposals."""
    encoded = model.encode_context(model.fill(context))
    rows = model.catalogue.rows_of(model.propose(encoded, PROPOSALS, (), seen))
    if not len(rows):
        return rows
    return rows[np.argsort(-model.catalogue.logits(encoded, rows), kind="stable")[:count]]


def served_report(
    model: Proposing,
    catalogue: CatalogueRanker,
    rankings: Sequence[LabelledRanking],
    histories: Mapping[str, Timeline],
    curve: Sequence[int] = (),
    step: Step = lambda: None,
) -> dict[str, dict[str, object]]:
    """Task → metrics of its catalogue rankings over `PROPOSALS` candidates.

    `curve`: further numbers of proposals, whose mean metrics are added under `curve`.
    """
    report: dict[str, dict[str, object]] = {}
    for task in sorted({ranking.context.task for ranking in rankings if not ranking.slate}):
        own = [ranking for ranking in rankings if ranking.context.task == task and not ranking.slate]

        def ranked(limit: int, own: Sequence[LabelledRanking] = own) -> RankingResults:
            return rank_catalogue(ServedSubject(model, catalogue, limit), own, histories, step)

        report[task] = {"proposals": PROPOSALS, **intervals(ranked(PROPOSALS))}
        if curve:
            report[task]["curve"] = {str(limit): _means(ranked(limit)) for limit in curve}
    return report


def _means(ranked: RankingResults) -> dict[str, float]:
    return {name: float(np.nanmean(values)) for name, values in ranked.values.items()}
