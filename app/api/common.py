"""What routes of every kind share: the live state of the application, an answer as JSON. Ranks nothing."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from app.models.serving_state import ServingState


def serving_state(request: Request) -> ServingState:
    """The live state that `create_app` put there."""
    live: ServingState = request.app.state.serving
    return live


def respond(answer: msgspec.Struct | dict[str, object], status: int = 200) -> Response:
    """An answer as JSON."""
    return Response(msgspec.json.encode(answer), status, media_type="application/json")
