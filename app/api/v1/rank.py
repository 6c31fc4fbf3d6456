"""`POST /v1/rank`: any task, any candidates."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from app.api.endpoint import Call, rank_body
from app.api.openapi import ranking_answers, takes
from app.api.v1.requests import ranking_request
from app.api.v1.responses import rank_answer
from app.api.v1.schemas import RankAnswer, RankBody
from app.http.auth.route import GuardedRoute, needs
from app.http.auth.scopes import Scope

router = APIRouter(tags=["ranking"], route_class=GuardedRoute)


@router.post("/v1/rank", responses=ranking_answers(RankAnswer), openapi_extra=takes(RankBody))
@needs(Scope.RANK, room=True)
async def rank(request: Request) -> Response:
    """Rank candidates, or what retrieval proposes, for a context."""
    return await rank_body(request, RankBody, _rank)


async def _rank(call: Call, body: RankBody) -> RankAnswer:
    asked = ranking_request(body, call.terms)
    with call.admitted(asked):
        ranking = await call.service.rank(asked, call.started)
    return rank_answer(ranking, call.model, call.request_id, call.took_s())
