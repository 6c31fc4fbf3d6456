"""Homepage rows: one ranking a row, the rows put in order, each entity shown once. Scores nothing itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from app.ranking.service import RankingService
from app.ranking.types import Ordered, Ranking, RankingRequest


@dataclass(frozen=True, slots=True)
class Row:
    """One row that is asked for, and how many items it shows."""

    row_id: str
    request: RankingRequest
    limit: int


@dataclass(frozen=True, slots=True)
class RankedRow:
    """One row of the answer. `rank` counts from 1."""

    row_id: str
    rank: int
    ranking: Ranking


async def rank_rows(service: RankingService, rows: Sequence[Row], by_score: bool, dedupe: bool) -> list[RankedRow]:
    """Rank each row; `by_score` orders rows by their top scores, `dedupe` refills the lower ones.

    Rows are ranked one after the other, all before one deadline. Only the first may be refused for want of time: what
    was ranked by then is not thrown away.
    """
    ordered = [(row, await service.order(row.request, may_refuse=row is rows[0])) for row in rows]
    if by_score:
        ordered.sort(key=lambda pair: -_top_mean(service, *pair))  # stable: ties keep the asked order
    taken: set[str] = set()
    ranked = []
    for rank, (row, order) in enumerate(ordered, start=1):
        places = _free_places(order, row.limit, taken if dedupe else set())
        taken.update(order.entity_ids[place] for place in places)
        ranked.append(RankedRow(row.row_id, rank, service.page(order, places)))
    return ranked


def _top_mean(service: RankingService, row: Row, order: Ordered) -> float:
    """Mean score of what the row would show alone; a row without any score comes after all others."""
    places = range(min(row.limit, len(order.entity_ids)))
    scores = [score for score in service.scores(order, places) if score is not None]
    return sum(scores) / len(scores) if scores else -1.0


def _free_places(order: Ordered, limit: int, taken: set[str]) -> list[int]:
    free = (place for place, entity_id in enumerate(order.entity_ids) if entity_id not in taken)
    return list(islice(free, limit))
