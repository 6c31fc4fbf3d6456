"""Maps rankings to the bodies of answers. Decides nothing."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import UNSET

from app.api.v1.schemas import (
    ContextAnswer,
    Coverage,
    HomepageAnswer,
    ImputedAnswer,
    ItemAnswer,
    ModelName,
    RankAnswer,
    RowAnswer,
    Timings,
)
from app.models.ab_test import Arm
from app.ranking.homepage import RankedRow
from app.ranking.model import RankingModel
from app.ranking.types import Ranking

_CONTEXT_FIELDS = ("task", "user_id", "query", "country", "source_entity_id")


def model_name(model: RankingModel, arm: Arm | None = None) -> ModelName:
    """Version and checksum of the model that answers, and its arm of the A/B test."""
    return ModelName(model.version, model.checksum, arm or UNSET)


@dataclass(frozen=True, slots=True)
class AnsweredBy:
    """The model that gave an answer, and the id of the request."""

    model: ModelName
    request_id: str


def rank_answer(ranking: Ranking, by: AnsweredBy, took_s: float) -> RankAnswer:
    """The answer of a surface with one list."""
    ordered = ranking.ordered
    return RankAnswer(
        by.request_id,
        ranking.ranking_id,
        ordered.request.context.task,
        by.model,
        _items(ranking),
        _context(ranking),
        ordered.unknown,
        ordered.degraded,
        Coverage(ordered.requested, ordered.scored),
        _ms(took_s),
        Timings(**{stage: _ms(seconds) for stage, seconds in ranking.seconds.items()}),
    )


def homepage_answer(rows: list[RankedRow], by: AnsweredBy, took_s: float) -> HomepageAnswer:
    """The answer of the homepage."""
    return HomepageAnswer(by.request_id, by.model, [_row(row) for row in rows], _ms(took_s))


def _row(row: RankedRow) -> RowAnswer:
    ordered = row.ranking.ordered
    return RowAnswer(
        row.row_id,
        row.rank,
        row.ranking.ranking_id,
        _context(row.ranking),
        _items(row.ranking),
        ordered.degraded,
    )


def _items(ranking: Ranking) -> list[ItemAnswer]:
    shown = zip(ranking.entity_ids, ranking.scores, ranking.entities, strict=True)
    return [
        ItemAnswer(entity_id, rank, score, UNSET if entity is None else entity)
        for rank, (entity_id, score, entity) in enumerate(shown, start=ranking.first_rank)
    ]


def _context(ranking: Ranking) -> ContextAnswer:
    filled = ranking.ordered.filled
    context = filled.context
    used: dict[str, str | None] = {name: getattr(context, name) for name in _CONTEXT_FIELDS}
    imputed = {entry.field: ImputedAnswer(entry.value, entry.rule) for entry in filled.imputed}
    return ContextAnswer(used, imputed, ranking.understood or UNSET)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
