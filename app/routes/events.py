"""`POST /v1/events`: what people were shown and what they did, acknowledged when it is on disk."""

from __future__ import annotations

import msgspec
from fastapi import APIRouter, Request, Response

from app.errors import Fault, InvalidRequestError
from app.event_schemas import Accepted, Engagement, Event
from app.openapi import answers, takes_events
from app.routes.entrance import live_of, read_body, respond
from app.settings import Settings
from app.wire import decode, pointer

router = APIRouter(tags=["events"])

_MOST_FAULTS = 20
_TEXTS = ("task", "user_id", "country", "source_entity_id", "ranking_id", "entity_id", "kind")


@router.post(
    "/v1/events",
    status_code=202,
    responses=answers(Accepted, 400, 408, 413, 422, 503, good=202),
    openapi_extra=takes_events(),
)
async def events(request: Request) -> Response:
    """Engagements and impressions, as an array or as JSON lines. All of them are kept, or none."""
    live = live_of(request)
    body = await read_body(request, live.settings)
    posted = decode(as_array(body), list[Event], live.settings.max_depth)
    if faults := [fault for place, event in enumerate(posted) for fault in _faults(place, event, live.settings)]:
        raise InvalidRequestError(*faults[:_MOST_FAULTS])
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


def _faults(place: int, event: Event, settings: Settings) -> list[Fault]:
    """What the types do not say: lengths, and labels that are numbers."""
    texts = [(pointer(place, name), value) for name in _TEXTS if isinstance(value := getattr(event, name, None), str)]
    found = [_too_long(where, text, settings.max_id_chars) for where, text in texts]
    found.append(_too_long(pointer(place, "query"), event.query or "", settings.max_query_chars))
    if isinstance(event, Engagement):
        return [fault for fault in found if fault]
    if len(event.shown) > settings.max_candidates:
        found.append(Fault(pointer(place, "shown"), "too_many", f"the limit is {settings.max_candidates}"))
    ids = enumerate(event.shown)
    found += [_too_long(pointer(place, "shown", at), shown, settings.max_id_chars) for at, shown in ids]
    return [fault for fault in found if fault]


def _too_long(where: str, text: str, limit: int) -> Fault | None:
    return Fault(where, "too_long", f"{len(text)} characters, the limit is {limit}") if len(text) > limit else None
