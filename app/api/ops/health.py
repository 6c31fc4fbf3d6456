"""`/livez` and `/readyz`: whether the process is alive, and whether it is ready to rank."""

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
    """200 once a model is loaded and warmed up; before that, and from SIGTERM on, 503 with the reason. Independent of
    Redis."""
    state = serving_state(request)
    model = state.require_service().model
    if stopping() if sharing() else state.leaving:
        raise NotReadyError("the service is about to end: it answers what comes meanwhile, but should get no more")
    return respond(Ready("ready", model_name(model)))
