"""`GET /v1/limits`: the limits on requests, from the settings."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from app.api.common import respond, serving_state
from app.api.openapi import answers
from app.api.v1.schemas import Limits
from app.http.auth.route import GuardedRoute, needs
from app.http.auth.scopes import Scope

router = APIRouter(tags=["operation"], route_class=GuardedRoute)


@router.get("/v1/limits", responses=answers(Limits))
@needs(Scope.RANK)
async def limits(request: Request) -> Response:
    """The limits on requests."""
    settings = serving_state(request).settings
    return respond(Limits(**{name: getattr(settings, name) for name in Limits.__struct_fields__}))
