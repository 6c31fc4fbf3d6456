"""How every ranking surface answers: is there room, read the body, decode, take room, rank, answer. Knows no surface.

A surface is four plain functions, and none of them calls back into this file. This is the one place of the application
that asks for room; what is refused before, from bare bytes, is in `app/http/load_shedding.py`. Who decides whether
there is any is `app/execution/admission.py`.
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
from app.errors import CallerGoneError
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
    """What a body asks for: one ranking, or several that are answered together."""

    @property
    def rankings(self) -> Sequence[RankingRequest]:
        """Each of them."""
        ...


AnyRequest = TypeVar("AnyRequest", bound=Rankings)


@dataclass(frozen=True, slots=True)
class Surface(Generic[Body, AnyRequest, Result]):
    """One surface. `decode`: bytes and the greatest depth → body; `map`: body → request, held against the terms;
    `rank`: request and when it began → result; `answer`: result, who answers, seconds → body of the answer.
    """

    decode: Callable[[bytes, int], Body]
    map: Callable[[Body, RequestLimits], AnyRequest]
    rank: Callable[[RankingService, AnyRequest, float], Awaitable[Result]]
    answer: Callable[[Result, AnsweredBy, float], msgspec.Struct]


async def answer(request: Request, surface: Surface[Body, AnyRequest, Result]) -> Response:
    """The answer of a surface to one request. Raises `UnavailableError`s before any work."""
    live = serving_state(request)
    settings = live.settings
    live.admission.check_room(settings.timeout_ms / 1000)  # before the body is read: a refusal should cost little
    raw = await read_body(request, settings.max_body_bytes, settings.body_timeout_ms)
    live.require_service()
    started = live.clock()
    body = surface.decode(raw, settings.max_depth)
    user_id = body.context.user_id if isinstance(body, RankBody) else body.user_id
    with live.hold(user_id, body.model) as (service, arm), live.metrics.rankings_under_way.track_inprogress():
        asked = surface.map(body, RequestLimits(settings, service.model.version, started))
        result = await _unless_gone(request, _admitted(service, surface, asked, started))
        who = AnsweredBy(model_name(service.model, arm), request.scope[REQUEST_ID])
        answered = surface.answer(result, who, live.clock() - started)
    if arm is not None:
        _count_arm(live, arm, who)
    return _response(answered)


async def _admitted(
    service: RankingService, surface: Surface[Body, AnyRequest, Result], asked: AnyRequest, started: float
) -> Result:
    """Rank, once there is room for all of its rankings together. Raises `OverloadedError`."""
    first = asked.rankings[0]
    candidates = sum(map(service.cost, asked.rankings))
    with service.admission.admitted(candidates, first.priority, first.deadline):
        return await surface.rank(service, asked, started)


def _count_arm(live: ServingState, arm: Arm, who: AnsweredBy) -> None:
    """Count who answered which arm, and say it to those who log that much; users are not named."""
    live.metrics.arms.labels(arm, who.model.version).inc()
    _log.debug("request %s: arm %s, model %s", who.request_id, arm, who.model.version)


async def _unless_gone(request: Request, work: Coroutine[Any, Any, Finished]) -> Finished:
    """The result of `work`. Raises `CallerGoneError`, and the work is dropped, when the caller hangs up first."""
    mine, at_work = asyncio.current_task(), True
    leaving = asyncio.ensure_future(request.receive())  # the body was read: all that can come is the end

    def stop(left: asyncio.Future[Message]) -> None:
        if at_work and mine is not None and not left.cancelled():
            mine.cancel()

    leaving.add_done_callback(stop)
    try:
        return await work
    except asyncio.CancelledError:
        if mine is None or not leaving.done() or leaving.cancelled() or mine.uncancel():
            raise
        raise CallerGoneError("it hung up before its answer") from None
    finally:
        at_work = False
        leaving.cancel()


def _response(answered: msgspec.Struct) -> Response:
    """As JSON, the time of its stages in a header."""
    response = respond(answered)
    if isinstance(answered, RankAnswer):
        stages = msgspec.structs.asdict(answered.timings)
        response.headers["server-timing"] = ", ".join(f"{name};dur={ms:.2f}" for name, ms in stages.items())
    return response
