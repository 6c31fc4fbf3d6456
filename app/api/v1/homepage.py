"""`POST /v1/homepage`: ordered rows without duplicate entities. The titles of the rows go to the event log."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from fastapi import APIRouter, Request, Response

from app.api.common import serving_state
from app.api.endpoint import Surface, answer
from app.api.openapi import ranking_answers, takes
from app.api.v1.requests import homepage_request
from app.api.v1.responses import homepage_answer
from app.api.v1.schemas import HomepageAnswer, HomepageBody
from app.events.row_titles import title_entries
from app.http.auth.route import GuardedRoute, needs
from app.http.auth.scopes import Scope
from app.http.decoding import decoder
from app.models.serving_state import ServingState
from app.ranking.homepage import HomepageRequest, RankedRow, rank_homepage
from app.ranking.service import RankingService

router = APIRouter(tags=["ranking"], route_class=GuardedRoute)
HOMEPAGE = Surface(decoder(HomepageBody, b"{}"), homepage_request, rank_homepage, homepage_answer)


@router.post(
    "/v1/homepage", responses=ranking_answers(HomepageAnswer), openapi_extra=takes(HomepageBody, required=False)
)
@needs(Scope.RANK)
async def homepage(request: Request) -> Response:
    """One ranking per row. Candidates are retrieved for a row that has none. The body is optional."""
    state = serving_state(request)

    async def rank(service: RankingService, asked: HomepageRequest, started: float) -> list[RankedRow]:
        rows = await rank_homepage(service, asked, started)
        _log_titles(rows, state)
        return rows

    return await answer(request, replace(HOMEPAGE, rank=rank))


def _log_titles(rows: Sequence[RankedRow], state: ServingState) -> None:
    """Store the titles by ranking id, for training. The answer does not wait for that."""
    rankings = [row.ranking for row in rows]
    titles = [(ranking.ranking_id, ranking.ordered.request.context.row_title) for ranking in rankings]
    if entries := title_entries(titles, int(time.time() * 1000)):
        state.events.append_soon(entries)
