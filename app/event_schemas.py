"""The wire types of `POST /v1/events`: what people were shown and what they did. No logic."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from app.schemas import Id, Query, Timestamp

Shown = Annotated[list[Id], Meta(min_length=1, extra_json_schema={"x-limit": "max_candidates"})]


class _Happened(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """Who, when and in which context."""

    timestamp: Timestamp
    task: Id
    user_id: Id | None = None
    query: Query | None = None
    country: Id | None = None
    source_entity_id: Id | None = None
    ranking_id: Id | None = None


class Engagement(_Happened, tag="engagement", frozen=True, kw_only=True):
    """Somebody did something with one entity. `label` > 0 = positive engagement."""

    entity_id: Id
    label: float
    kind: Id | None = None


class Impression(_Happened, tag="impression", frozen=True, kw_only=True):
    """Somebody was shown entities, in this order."""

    shown: Shown


Event = Engagement | Impression


class Accepted(Struct, frozen=True):
    """All events of the request are on disk."""

    accepted: int
