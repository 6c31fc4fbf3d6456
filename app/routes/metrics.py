"""`GET /metrics`: Prometheus text of this process."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from app.access.route import GuardedRoute, needs
from app.access.scopes import Scope
from app.routes.entrance import live_of

router = APIRouter(tags=["operation"], route_class=GuardedRoute)


@router.get("/metrics", response_class=Response)
@needs(Scope.ADMIN)
async def metrics(request: Request) -> Response:
    """Counters and histograms since the start of this worker."""
    return Response(generate_latest(live_of(request).telemetry.registry), media_type=CONTENT_TYPE_LATEST)
