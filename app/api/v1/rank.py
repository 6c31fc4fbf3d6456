"""`POST /v1/rank`: any task, any candidates."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from app.api.endpoint import Surface, answer
from app.api.openapi import ranking_answers, takes
from app.api.v1.requests import ranking_request
from app.api.v1.responses import rank_answer
from app.api.v1.schemas import RankAnswer, RankBody
from app.http.auth.route import GuardedRoute, needs
from app.http.auth.scopes import Scope
from app.http.decoding import decoder
from app.ranking.service import RankingService

router = APIRouter(tags=["ranking"], route_class=GuardedRoute)
RANK = Surface(decoder(RankBody), ranking_request, RankingService.rank, rank_answer)


@router.post("/v1/rank", responses=ranking_answers(RankAnswer), openapi_extra=takes(RankBody))
@needs(Scope.RANK)
async def rank(request: Request) -> Response:
    """Rank candidates, given or retrieved, for a context."""
    return await answer(request, RANK)
