"""`GET /metrics`: the metrics of all workers in Prometheus' text format."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from app.api.common import serving_state
from app.http.auth.route import GuardedRoute, needs
from app.http.auth.scopes import Scope
from app.observability.worker_metrics import exposition

router = APIRouter(tags=["operation"], route_class=GuardedRoute)


@router.get("/metrics", response_class=Response)
@needs(Scope.ADMIN)
async def metrics(request: Request) -> Response:
    """Counters and histograms of all workers since the start of the service."""
    text = await asyncio.to_thread(exposition, serving_state(request).metrics.registry)
    return Response(text, media_type=CONTENT_TYPE_LATEST)
