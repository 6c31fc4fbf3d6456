"""What all routes share: access to the serving state, JSON responses. Ranks nothing."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from app.models.serving_state import ServingState


def serving_state(request: Request) -> ServingState:
    """The serving state of the application."""
    state: ServingState = request.app.state.serving
    return state


def respond(answer: msgspec.Struct | dict[str, object], status: int = 200) -> Response:
    """A JSON response."""
    return Response(msgspec.json.encode(answer), status, media_type="application/json")
