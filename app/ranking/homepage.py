"""Homepage rows: ranks each row, orders the rows and removes duplicate entities. Scores nothing itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from app.ranking.service import RankingService
from app.ranking.types import OrderedCandidates, Ranking, RankingRequest


@dataclass(frozen=True, slots=True)
class Row:
    """One requested row, and how many items it shows."""

    row_id: str
    request: RankingRequest
    limit: int


@dataclass(frozen=True, slots=True)
class HomepageRequest:
    """The requested rows. `by_score` orders rows by their top scores; `dedupe` shows each entity once."""

    rows: Sequence[Row]
    by_score: bool
    dedupe: bool

    @property
    def rankings(self) -> list[RankingRequest]:
        """All rankings that the answer needs: one for each row."""
        return [row.request for row in self.rows]


@dataclass(frozen=True, slots=True)
class RankedRow:
    """One row of the answer. `rank` counts from 1."""

    row_id: str
    rank: int
    ranking: Ranking


async def rank_homepage(service: RankingService, request: HomepageRequest, started: float) -> list[RankedRow]:
    """Rank each row, order the rows, refill the lower ones. `started` is unused: a homepage reports no stage times.

    Rows are ranked one after the other and share one deadline. Only the first may be refused for lack of time; later
    ones are not, so that rows that are already ranked are kept.
    """
    ordered = [(row, await service.order(row.request)) for row in request.rows]
    if request.by_score:
        ordered.sort(key=lambda pair: -_top_mean(service, *pair))  # stable: ties keep the requested order
    taken: set[str] = set()
    ranked = []
    for rank, (row, order) in enumerate(ordered, start=1):
        places = _free_places(order, row.limit, taken if request.dedupe else set())
        taken.update(order.entity_ids[place] for place in places)
        ranked.append(RankedRow(row.row_id, rank, service.page(order, places)))
    return ranked


def _top_mean(service: RankingService, row: Row, order: OrderedCandidates) -> float:
    """Mean score of the items that the row would show without deduplication; −1, to come last, if none has a score."""
    top_places = range(min(row.limit, len(order.entity_ids)))
    scores = [score for score in service.scores(order, top_places) if score is not None]
    return sum(scores) / len(scores) if scores else -1.0


def _free_places(order: OrderedCandidates, limit: int, taken: set[str]) -> list[int]:
    free = (place for place, entity_id in enumerate(order.entity_ids) if entity_id not in taken)
    return list(islice(free, limit))
