"""Homepage rows: one ranking a row, the rows put in order, each entity shown once. Scores nothing itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from app.ranking.service import RankingService
from app.ranking.types import OrderedCandidates, Ranking, RankingRequest


@dataclass(frozen=True, slots=True)
class Row:
    """One row that is asked for, and how many items it shows."""

    row_id: str
    request: RankingRequest
    limit: int


@dataclass(frozen=True, slots=True)
class HomepageRequest:
    """Rows that are asked for. `by_score` orders rows by their top scores; `dedupe` shows each entity once."""

    rows: Sequence[Row]
    by_score: bool
    dedupe: bool

    @property
    def rankings(self) -> list[RankingRequest]:
        """All rankings that answering takes: one a row."""
        return [row.request for row in self.rows]


@dataclass(frozen=True, slots=True)
class RankedRow:
    """One row of the answer. `rank` counts from 1."""

    row_id: str
    rank: int
    ranking: Ranking


async def rank_homepage(service: RankingService, asked: HomepageRequest, started: float) -> list[RankedRow]:
    """Rank each row, order the rows, refill the lower ones. `started` is not needed: no stage of a homepage is told.

    Rows are ranked one after the other, all before one deadline. Only the first may be refused for want of time: what
    was ranked by then is not thrown away.
    """
    ordered = [(row, await service.order(row.request)) for row in asked.rows]
    if asked.by_score:
        ordered.sort(key=lambda pair: -_top_mean(service, *pair))  # stable: ties keep the asked order
    taken: set[str] = set()
    ranked = []
    for rank, (row, order) in enumerate(ordered, start=1):
        places = _free_places(order, row.limit, taken if asked.dedupe else set())
        taken.update(order.entity_ids[place] for place in places)
        ranked.append(RankedRow(row.row_id, rank, service.page(order, places)))
    return ranked


def _top_mean(service: RankingService, row: Row, order: OrderedCandidates) -> float:
    """Mean score of what the row would show alone; a row without any score comes after all others."""
    places = range(min(row.limit, len(order.entity_ids)))
    scores = [score for score in service.scores(order, places) if score is not None]
    return sum(scores) / len(scores) if scores else -1.0


def _free_places(order: OrderedCandidates, limit: int, taken: set[str]) -> list[int]:
    free = (place for place, entity_id in enumerate(order.entity_ids) if entity_id not in taken)
    return list(islice(free, limit))
