"""The wire types of the rivals as pydantic models: the body of `POST /v1/rank` in, ids and scores out."""

from __future__ import annotations

from pydantic import BaseModel, Field

from bench.plain import PlainRanking
from model.context.context import Context


class ContextIn(BaseModel):
    """The context of a ranking."""

    task: str
    user_id: str | None = None
    query: str | None = None
    country: str | None = None
    source_entity_id: str | None = None


class RankIn(BaseModel):
    """A context and its candidates."""

    context: ContextIn
    candidates: list[str] = Field(min_length=1)


class Item(BaseModel):
    """One ranked entity."""

    id: str
    score: float


class RankOut(BaseModel):
    """The ranked entities, best first."""

    items: list[Item]


def answer(ranking: PlainRanking, body: RankIn) -> RankOut:
    """Rank a validated body; returns a typed answer."""
    ranked = ranking.rank(Context(**dict(body.context)), body.candidates)
    return RankOut(items=[Item(id=entity_id, score=score) for entity_id, score in ranked])
