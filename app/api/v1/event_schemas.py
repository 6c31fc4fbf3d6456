"""The wire types of `POST /v1/events`: impressions and engagements. No logic."""

from __future__ import annotations

import time
from typing import Annotated

from msgspec import Meta, Struct

from app.api.v1.schemas import Id, Query

FIRST_MS = 631_152_000_000  # 1990-01-01: an older time is a wrong unit or a clock that was never set
DAY_MS = 86_400_000


def latest_ms(now_ms: float) -> int:
    """The end of tomorrow (UTC), because clocks run ahead and local times are sent as UTC. The OpenAPI document could
    not state a limit that changes with every request.
    """
    return (int(now_ms) // DAY_MS + 2) * DAY_MS - 1


# Documented here, checked in `event_checks.py`, whose message gives the value. Exact on the day the service started.
_RANGE = {"minimum": FIRST_MS, "maximum": latest_ms(time.time() * 1000)}
Moment = Annotated[
    float,
    Meta(multiple_of=1, description="ms since 1970 UTC, from 1990 to the end of tomorrow", extra_json_schema=_RANGE),
]
Label = Annotated[float, Meta(description="> 0 = positive engagement", extra_json_schema={"minimum": 0})]
Shown = Annotated[list[Id], Meta(min_length=1, extra_json_schema={"x-limit": "max_candidates"})]


class _EventBase(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """The user, time and context of an event."""

    timestamp: Moment
    task: Id
    user_id: Id | None = None
    query: Query | None = None
    country: Id | None = None
    source_entity_id: Id | None = None
    ranking_id: Id | None = None


class Engagement(_EventBase, tag="engagement", frozen=True, kw_only=True):
    """A user engaged with one entity. `label` > 0 = positive engagement."""

    entity_id: Id
    label: Label
    kind: Id | None = None


class Impression(_EventBase, tag="impression", frozen=True, kw_only=True):
    """A user was shown entities, in this order."""

    shown: Shown


Event = Engagement | Impression


class Accepted(Struct, frozen=True):
    """All events of the request are on disk."""

    accepted: int
