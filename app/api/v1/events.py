"""`POST /v1/events`: impressions and engagements, acknowledged when they are on disk."""

from __future__ import annotations

import time

import msgspec
from fastapi import APIRouter, Request, Response

from app.api.common import respond, serving_state
from app.api.openapi import answers, takes_events
from app.api.v1.event_checks import CooperativePause, check
from app.api.v1.event_schemas import Accepted, Event, Impression
from app.errors import EventsUnavailableError
from app.http.auth.route import GuardedRoute, needs
from app.http.auth.scopes import Scope
from app.http.body import read_body
from app.http.decoding import decode
from app.models.serving_state import ServingState

router = APIRouter(tags=["events"], route_class=GuardedRoute)

_SLICE_BYTES = 16_384


@router.post(
    "/v1/events",
    status_code=202,
    responses=answers(Accepted, 400, 408, 413, 422, 503, good=202),
    openapi_extra=takes_events(),
)
@needs(Scope.WRITE)
async def events(request: Request) -> Response:
    """Store engagements and impressions, sent as an array or as JSON lines: all of them, or none."""
    state, pause = serving_state(request), CooperativePause()
    body = await read_body(request, state.settings)
    posted = decode(await as_array(body, pause), list[Event], state.settings.max_depth)
    await check(posted, state.settings, time.time() * 1000, pause)
    if posted:
        await _store(posted, state, pause)
    return respond(Accepted(len(posted)), 202)


async def as_array(body: bytes, pause: CooperativePause) -> bytes:
    """JSON lines as one array; an array is returned unchanged."""
    if body.lstrip().startswith(b"["):
        return body
    slices, start = [], 0
    while start < len(body):
        end = _line_end(body, start + _SLICE_BYTES)
        slices.append(_join_lines(body[start:end]))
        start = end
        await pause()
    return b"[" + b",".join(filter(None, slices)) + b"]"


def _line_end(body: bytes, start: int) -> int:
    """The position after the first line end from `start` on, or the end of the body."""
    ends = (body.find(b"\n", start), body.find(b"\r", start))
    return min((end + 1 for end in ends if end >= 0), default=len(body))


def _join_lines(lines: bytes) -> bytes:
    """Lines joined by commas; blank lines are left out.

    >>> _join_lines(b'{"a": 1}\\n\\n{"a": 2}\\n')
    b'{"a": 1},{"a": 2}'
    """
    return b",".join(line for line in lines.splitlines() if line.strip())


async def _store(posted: list[Event], state: ServingState, pause: CooperativePause) -> None:
    """Write all events to disk, then count them. Raises `EventsUnavailableError`."""
    payloads = []
    for event in posted:
        payloads.append(_encode(event))
        await pause()
    try:
        await state.events.append(payloads)
    except EventsUnavailableError:
        state.metrics.events_failing.set(state.events.failing)
        raise
    state.metrics.events_failing.set(0)
    impressions = sum(isinstance(event, Impression) for event in posted)
    for kind, count in (("impression", impressions), ("engagement", len(posted) - impressions)):
        if count:
            state.metrics.events.labels(kind).inc(count)


def _encode(event: Event) -> bytes:
    """An event as one line of JSON; its timestamp is an integer, as in a dataset."""
    return msgspec.json.encode(msgspec.structs.replace(event, timestamp=int(event.timestamp)))
