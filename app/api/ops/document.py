"""`GET /openapi.json` and `GET /docs`: the OpenAPI document, and a page that shows it."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import JSONResponse

from app.http.auth.route import GuardedRoute, open_to_all

router = APIRouter(include_in_schema=False, route_class=GuardedRoute)
_DOCUMENT = "/openapi.json"


@router.get(_DOCUMENT)
@open_to_all
async def document(request: Request) -> Response:
    """The OpenAPI document."""
    return JSONResponse(request.app.openapi())


@router.get("/docs")
@open_to_all
async def docs(request: Request) -> Response:
    """The page that shows it; loads its script from another site."""
    document_url = request.scope.get("root_path", "").rstrip("/") + _DOCUMENT
    return get_swagger_ui_html(openapi_url=document_url, title=f"{request.app.title} - Swagger UI")
