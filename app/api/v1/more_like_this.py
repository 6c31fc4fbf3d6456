"""`POST /v1/more-like-this/{entity_id}`: entities that resemble one entity."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from fastapi import APIRouter, Request, Response

from app.api.endpoint import Surface, answer
from app.api.openapi import ranking_answers, takes
from app.api.v1.requests import more_like_this_request
from app.api.v1.responses import rank_answer
from app.api.v1.schemas import MoreLikeThisBody, RankAnswer
from app.http.auth.route import GuardedRoute, needs
from app.http.auth.scopes import Scope
from app.http.decoding import decoder
from app.ranking.service import RankingService

router = APIRouter(tags=["ranking"], route_class=GuardedRoute)
MORE_LIKE = Surface(
    decoder(MoreLikeThisBody, b"{}"), partial(more_like_this_request, ""), RankingService.rank, rank_answer
)


@router.post(
    "/v1/more-like-this/{entity_id:path}",
    responses=ranking_answers(RankAnswer, 404),
    openapi_extra=takes(MoreLikeThisBody, required=False),
)
@needs(Scope.RANK)
async def more_like_this(request: Request, entity_id: str) -> Response:
    """Entities like the one in the path. The body is optional."""
    return await answer(request, replace(MORE_LIKE, map=partial(more_like_this_request, entity_id)))
