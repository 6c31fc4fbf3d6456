"""Maps bodies to `RankingRequest`s. Ranks nothing; `request_checks.py` holds the checks.

Every function raises `InvalidRequestError` with all faults of the body.
"""

from __future__ import annotations

from dataclasses import replace

from app.api.v1.request_checks import At, RequestCheck, RequestLimits, candidate_ids
from app.api.v1.schemas import (
    ContextBody,
    FlatBody,
    HomepageBody,
    MoreLikeThisBody,
    Options,
    PageOptions,
    RankBody,
    RowBody,
    SearchBody,
)
from app.execution.admission import Priority, priority_of
from app.http.decoding import pointer
from app.ranking.homepage import HomepageRequest, Row
from app.ranking.types import DEFAULT_LIMIT, RankingRequest
from app.settings import Settings
from model.context.context import HOMEPAGE, MORE_LIKE_THIS, SEARCH, Context


def ranking_request(body: RankBody, limits: RequestLimits) -> RankingRequest:
    """The request of `POST /v1/rank`."""
    check = RequestCheck(limits)
    at: At = ("context",)
    check.id(body.context.task, *at, "task")
    check.id(body.context.source_entity_id, *at, "source_entity_id")
    context = _context(body.context, body.context.task, body.context.source_entity_id, check, at)
    return _page_request(body, context, body.context.history is not None, check, at)


def search_request(body: SearchBody, limits: RequestLimits) -> RankingRequest:
    """The request of `/v1/search`."""
    return _flat_request(body, SEARCH, None, RequestCheck(limits))


def more_like_this_request(entity_id: str, body: MoreLikeThisBody, limits: RequestLimits) -> RankingRequest:
    """The request of `POST /v1/more-like-this/{entity_id}`."""
    return replace(_flat_request(body, MORE_LIKE_THIS, entity_id, RequestCheck(limits)), source_in_path=True)


def homepage_request(body: HomepageBody, limits: RequestLimits) -> HomepageRequest:
    """The request of `POST /v1/homepage`."""
    check = RequestCheck(limits)
    context = _context(body, HOMEPAGE, None, check, ())
    check.options(body)
    check.rows(body.rows)
    check.done()
    exclude = frozenset(body.exclude)
    rows = [_row(row, body, context, exclude, limits, place) for place, row in enumerate(body.rows)]
    return HomepageRequest(rows, by_score=body.rank_rows, dedupe=body.dedupe)


def _flat_request(body: FlatBody, task: str, source: str | None, check: RequestCheck) -> RankingRequest:
    return _page_request(body, _context(body, task, source, check, ()), body.history is not None, check, ())


def _context(
    body: ContextBody | FlatBody | HomepageBody, task: str, source: str | None, check: RequestCheck, at: At
) -> Context:
    check.id(body.user_id, *at, "user_id")
    check.id(body.country, *at, "country")
    check.query(body.query, *at, "query")
    check.unbuilt(bool(body.features), *at, "features")
    history = check.history(body.history or (), *at, "history")
    return Context(task, body.user_id, body.query, body.country, source, history)


def _page_request(
    body: PageOptions, context: Context, history_given: bool, check: RequestCheck, at: At
) -> RankingRequest:
    check.options(body)
    check.page(body)
    candidates = check.candidates(body.candidates, "candidates")
    check.done()
    return RankingRequest(
        context,
        deadline=_deadline(body, check.limits),
        candidates=candidates,
        history_given=history_given,
        limit=_limit(body, check.settings),
        offset=int(body.offset),
        exclude=frozenset(body.exclude),
        seen=body.seen,
        unknown=body.unknown,
        fields=tuple(body.fields),
        at=pointer(*at),
        priority=_priority(body, context.task),
    )


def _limit(body: PageOptions, settings: Settings) -> int | None:
    """How many items to return; by default all given candidates, or `DEFAULT_LIMIT` retrieved ones. None = all."""
    if body.limit is not None:
        return int(body.limit)
    return None if body.candidates else min(DEFAULT_LIMIT, settings.max_candidates - int(body.offset))


def _row(
    row: RowBody, body: HomepageBody, context: Context, exclude: frozenset[str], limits: RequestLimits, place: int
) -> Row:
    request = RankingRequest(
        Context(HOMEPAGE, context.user_id, context.query, context.country, None, context.history, row.title),
        deadline=_deadline(body, limits),
        candidates=None if row.candidates is None else candidate_ids(row.candidates),
        history_given=body.history is not None,
        limit=int(row.limit),
        candidates_at=pointer("rows", place, "candidates"),
        exclude=exclude,
        seen=body.seen,
        unknown=body.unknown,
        fields=tuple(body.fields),
        priority=_priority(body, HOMEPAGE),
        may_refuse=place == 0,
    )
    return Row(row.row_id, request, int(row.limit))


def _priority(body: Options, task: str) -> Priority:
    return priority_of(task) if body.priority is None else Priority[body.priority.upper()]


def _deadline(body: Options, limits: RequestLimits) -> float:
    timeout_ms = limits.settings.timeout_ms if body.timeout_ms is None else body.timeout_ms
    return limits.started + timeout_ms / 1000
