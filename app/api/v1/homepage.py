"""`POST /v1/homepage`: rows in order, each entity once."""

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
    """One ranking a row. A row without candidates is retrieved. The body may be left out."""
    return await answer(request, HOMEPAGE)
