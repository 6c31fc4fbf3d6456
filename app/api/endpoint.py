"""Answers a request to any ranking surface: check load, read, decode, admit, rank, respond. Knows no surface.

A surface is four plain functions, none of which calls back into this file. Only this file of the application calls
admission control (`app/execution/admission.py`), which decides; earlier refusals, from raw bytes, are in
`app/http/load_shedding.py`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message

from app.api.common import respond, serving_state
from app.api.v1.request_checks import RequestLimits
from app.api.v1.responses import AnsweredBy, model_name
from app.api.v1.schemas import HomepageBody, MoreLikeThisBody, RankAnswer, RankBody, SearchBody
from app.errors import ClientDisconnectedError
from app.http.body import read_body
from app.http.problems import REQUEST_ID
from app.models.ab_test import Arm
from app.models.serving_state import ServingState
from app.ranking.service import RankingService
from app.ranking.types import RankingRequest

_log = logging.getLogger("unirank")
Body = TypeVar("Body", RankBody, SearchBody, MoreLikeThisBody, HomepageBody)
Result = TypeVar("Result")
Finished = TypeVar("Finished")


class Rankings(Protocol):
    """A request for one ranking, or for several that are answered together."""

    @property
    def rankings(self) -> Sequence[RankingRequest]:
        """All of them."""
        ...


AnyRequest = TypeVar("AnyRequest", bound=Rankings)


@dataclass(frozen=True, slots=True)
class Surface(Generic[Body, AnyRequest, Result]):
    """One surface. `decode`: bytes and maximum depth → body; `map`: body and limits → request; `rank`: request and
    start time → result; `answer`: result, model and request id, seconds → body of the answer.
    """

    decode: Callable[[bytes, int], Body]
    map: Callable[[Body, RequestLimits], AnyRequest]
    rank: Callable[[RankingService, AnyRequest, float], Awaitable[Result]]
    answer: Callable[[Result, AnsweredBy, float], msgspec.Struct]


async def answer(request: Request, surface: Surface[Body, AnyRequest, Result]) -> Response:
    """Answer one request to a surface. Raises `UnavailableError`s before any work."""
    state = serving_state(request)
    settings = state.settings
    state.admission.check_room(settings.timeout_ms / 1000)  # before the body is read, so that a refusal costs little
    raw = await read_body(request, settings)
    state.require_service()
    started = state.clock()
    body = surface.decode(raw, settings.max_depth)
    user_id = body.context.user_id if isinstance(body, RankBody) else body.user_id
    with state.hold(user_id, body.model) as (service, arm), state.metrics.rankings_under_way.track_inprogress():
        mapped = surface.map(body, RequestLimits(settings, service.model.version, started))
        limit = settings.retrieve_limit
        result = await _cancel_on_disconnect(request, _rank_admitted(service, surface, mapped, started, limit))
        answered_by = AnsweredBy(model_name(service.model, arm), request.scope[REQUEST_ID])
        content = surface.answer(result, answered_by, state.clock() - started)
    if arm is not None:
        _count_arm(state, arm, answered_by)
    return _response(content)


async def _rank_admitted(
    service: RankingService,
    surface: Surface[Body, AnyRequest, Result],
    request: AnyRequest,
    started: float,
    retrieve_limit: int,
) -> Result:
    """Rank, if all rankings of the request are admitted together. Raises `OverloadedError`."""
    first = request.rankings[0]
    candidates = sum(ranking.most_candidates(retrieve_limit) for ranking in request.rankings)
    with service.admission.admitted(candidates, first.priority, first.deadline):
        return await surface.rank(service, request, started)


def _count_arm(state: ServingState, arm: Arm, answered_by: AnsweredBy) -> None:
    """Count the answer for its A/B test arm and log it at level debug, without the user."""
    state.metrics.arms.labels(arm, answered_by.model.version).inc()
    _log.debug("request %s: arm %s, model %s", answered_by.request_id, arm, answered_by.model.version)


async def _cancel_on_disconnect(request: Request, work: Coroutine[Any, Any, Finished]) -> Finished:
    """The result of `work`. If the caller disconnects first, cancels it and raises `ClientDisconnectedError`."""
    task, working = asyncio.current_task(), True
    disconnect = asyncio.ensure_future(request.receive())  # the body was read: only a disconnect can follow

    def stop(disconnected: asyncio.Future[Message]) -> None:
        if working and task is not None and not disconnected.cancelled():
            task.cancel()

    disconnect.add_done_callback(stop)
    try:
        return await work
    except asyncio.CancelledError:
        if task is None or not disconnect.done() or disconnect.cancelled() or task.uncancel():
            raise
        raise ClientDisconnectedError("it hung up before its answer") from None
    finally:
        working = False
        disconnect.cancel()


def _response(content: msgspec.Struct) -> Response:
    """A JSON response, with the time of each stage in a header."""
    response = respond(content)
    if isinstance(content, RankAnswer):
        stages = msgspec.structs.asdict(content.timings)
        response.headers["server-timing"] = ", ".join(f"{name};dur={ms:.2f}" for name, ms in stages.items())
    return response
