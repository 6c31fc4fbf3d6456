"""`POST /v1/more-like-this/{entity_id}`: what resembles one entity."""

from __future__ import annotations

from dataclasses import replace

from fastapi import APIRouter, Request, Response

from app.api.endpoint import Call, rank_body
from app.api.openapi import ranking_answers, takes
from app.api.v1.requests import more_like_this_request
from app.api.v1.responses import rank_answer
from app.api.v1.schemas import MoreLikeThisBody, RankAnswer
from app.http.auth.route import GuardedRoute, needs
from app.http.auth.scopes import Scope

router = APIRouter(tags=["ranking"], route_class=GuardedRoute)


@router.post(
    "/v1/more-like-this/{entity_id:path}",
    responses=ranking_answers(RankAnswer, 404),
    openapi_extra=takes(MoreLikeThisBody, required=False),
)
@needs(Scope.RANK, room=True)
async def more_like_this(request: Request, entity_id: str) -> Response:
    """Entities like the one in the path. The body may be left out."""

    async def work(call: Call, body: MoreLikeThisBody) -> RankAnswer:
        asked = replace(more_like_this_request(entity_id, body, call.terms), source_in_path=True)
        with call.admitted(asked):
            ranking = await call.service.rank(asked, call.started)
        return rank_answer(ranking, call.model, call.request_id, call.took_s())

    return await rank_body(request, MoreLikeThisBody, work, empty=b"{}")
