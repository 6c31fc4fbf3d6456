"""`POST /v1/events`: what people were shown and what they did, acknowledged when it is on disk."""

from __future__ import annotations

import msgspec
from fastapi import APIRouter, Request, Response

from app.access.route import GuardedRoute, needs
from app.access.scopes import Scope
from app.asking import Lengths
from app.event_schemas import Accepted, Event, Impression
from app.openapi import answers, takes_events
from app.routes.entrance import live_of, read_body, respond
from app.settings import Settings
from app.wire import decode

router = APIRouter(tags=["events"], route_class=GuardedRoute)

_IDS = ("task", "user_id", "country", "source_entity_id", "ranking_id", "entity_id", "kind")


@router.post(
    "/v1/events",
    status_code=202,
    responses=answers(Accepted, 400, 408, 413, 422, 503, good=202),
    openapi_extra=takes_events(),
)
@needs(Scope.WRITE)
async def events(request: Request) -> Response:
    """Engagements and impressions, as an array or as JSON lines. All of them are kept, or none."""
    live = live_of(request)
    body = await read_body(request, live.settings)
    posted = decode(as_array(body), list[Event], live.settings.max_depth)
    _check(posted, live.settings)
    if posted:
        await live.events.append([_stored(event) for event in posted])
    for event in posted:
        live.telemetry.events.labels(event.__struct_config__.tag).inc()
    return respond(Accepted(len(posted)), 202)


def as_array(body: bytes) -> bytes:
    """JSON lines as one array; an array stays as it is.

    >>> as_array(b'{"a": 1}\\n\\n{"a": 2}\\n')
    b'[{"a": 1},{"a": 2}]'
    """
    if body.lstrip().startswith(b"["):
        return body
    return b"[" + b",".join(line for line in body.splitlines() if line.strip()) + b"]"


def _stored(event: Event) -> bytes:
    """An event as one line of JSON; its timestamp is a whole number, as in a dataset."""
    return msgspec.json.encode(msgspec.structs.replace(event, timestamp=int(event.timestamp)))


def _check(posted: list[Event], settings: Settings) -> None:
    """What the types do not say: lengths. Raises `InvalidRequestError` with the first of all faults."""
    lengths = Lengths(settings)
    for place, event in enumerate(posted):
        for name in _IDS:
            lengths.id(getattr(event, name, None), place, name)
        lengths.query(event.query, place, "query")
        if isinstance(event, Impression):
            lengths.ids(event.shown, place, "shown")
    lengths.done()
