"""`POST /v1/homepage`: ordered rows without duplicate entities."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from app.api.endpoint import Surface, answer
from app.api.openapi import ranking_answers, takes
from app.api.v1.requests import homepage_request
from app.api.v1.responses import homepage_answer
from app.api.v1.schemas import HomepageAnswer, HomepageBody
from app.http.auth.route import GuardedRoute, needs
from app.http.auth.scopes import Scope
from app.http.decoding import decoder
from app.ranking.homepage import rank_homepage

router = APIRouter(tags=["ranking"], route_class=GuardedRoute)
HOMEPAGE = Surface(decoder(HomepageBody, b"{}"), homepage_request, rank_homepage, homepage_answer)


@router.post(
    "/v1/homepage", responses=ranking_answers(HomepageAnswer), openapi_extra=takes(HomepageBody, required=False)
)
@needs(Scope.RANK)
async def homepage(request: Request) -> Response:
    """One ranking per row. Candidates are retrieved for a row that has none. The body is optional."""
    return await answer(request, HOMEPAGE)
