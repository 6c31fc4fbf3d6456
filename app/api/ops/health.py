"""`/livez` and `/readyz`: is the process alive, does it rank."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from app.api.common import respond, serving_state
from app.api.openapi import answers
from app.api.v1.responses import model_name
from app.api.v1.schemas import Alive, Ready
from app.errors import NotReadyError
from app.http.auth.route import GuardedRoute, open_to_all
from app.observability.metrics import sharing
from app.observability.worker_metrics import stopping

router = APIRouter(tags=["operation"], route_class=GuardedRoute)


@router.get("/livez", responses=answers(Alive))
@open_to_all
async def livez() -> Response:
    """200 as long as the process answers."""
    return respond(Alive("alive"))


@router.get("/readyz", responses=answers(Ready, 503))
@open_to_all
async def readyz(request: Request) -> Response:
    """200 once a model is loaded and warmed; until then, and from SIGTERM on, 503 with the reason. Redis does not
    matter."""
    live = serving_state(request)
    model = live.require_service().model
    if stopping() if sharing() else live.leaving:
        raise NotReadyError("the service is about to end: it answers what comes meanwhile, but should get no more")
    return respond(Ready("ready", model_name(model)))
