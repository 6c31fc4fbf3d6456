"""`GET /v1/entities/{entity_id}`: one entity of the model's catalogue."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from app.api.common import respond, serving_state
from app.api.openapi import answers
from app.api.v1.schemas import EntityAnswer
from app.errors import NotFoundError
from app.http.auth.route import GuardedRoute, needs
from app.http.auth.scopes import Scope

router = APIRouter(tags=["catalogue"], route_class=GuardedRoute)


@router.get("/v1/entities/{entity_id:path}", responses=answers(EntityAnswer, 404, 422, 503))
@needs(Scope.RANK)
async def entity(request: Request, entity_id: str) -> Response:
    """The name and attributes of an entity."""
    attributes = serving_state(request).require_service().model.entity(entity_id)
    if attributes is None:
        raise NotFoundError(f"there is no entity '{entity_id}'")
    return respond(attributes)
