"""`/livez` and `/readyz`: is the process alive, does it rank."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from app.answering import model_name
from app.openapi import answers
from app.routes.entrance import live_of, respond
from app.schemas import Alive, Ready

router = APIRouter(tags=["operation"])


@router.get("/livez", responses=answers(Alive))
async def livez() -> Response:
    """200 as long as the process answers."""
    return respond(Alive("alive"))


@router.get("/readyz", responses=answers(Ready, 503))
async def readyz(request: Request) -> Response:
    """200 once a model is loaded and warmed; until then 503 with the reason. Redis does not matter."""
    return respond(Ready("ready", model_name(live_of(request).ready().model)))
