"""`POST /v1/homepage`: rows in order, each entity once."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from app.api.endpoint import Call, rank_body
from app.api.openapi import ranking_answers, takes
from app.api.v1.requests import row_requests
from app.api.v1.responses import homepage_answer
from app.api.v1.schemas import HomepageAnswer, HomepageBody
from app.http.auth.route import GuardedRoute, needs
from app.http.auth.scopes import Scope
from app.ranking.homepage import rank_rows

router = APIRouter(tags=["ranking"], route_class=GuardedRoute)


@router.post(
    "/v1/homepage", responses=ranking_answers(HomepageAnswer), openapi_extra=takes(HomepageBody, required=False)
)
@needs(Scope.RANK, room=True)
async def homepage(request: Request) -> Response:
    """One ranking a row. A row without candidates is retrieved. The body may be left out."""
    return await rank_body(request, HomepageBody, _homepage, empty=b"{}")


async def _homepage(call: Call, body: HomepageBody) -> HomepageAnswer:
    rows = row_requests(body, call.terms)
    with call.admitted(*(row.request for row in rows)):
        ranked = await rank_rows(call.service, rows, by_score=body.rank_rows, dedupe=body.dedupe)
    return homepage_answer(ranked, call.model, call.request_id, call.took_s())
