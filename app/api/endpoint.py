"""What every ranking route shares: read the body, decode, take room, work, answer. Knows no surface."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message

from app.api.v1.requests import Terms
from app.api.v1.responses import model_name
from app.api.v1.schemas import HomepageBody, ModelName, MoreLikeThisBody, RankAnswer, RankBody, SearchBody
from app.errors import REQUEST_ID, BodyTimeoutError, BodyTooLargeError, CallerGoneError
from app.http.decoding import decode
from app.models.ab_test import Arm
from app.models.serving_state import Live
from app.ranking.service import RankingService
from app.ranking.types import RankingRequest
from app.settings import Settings

_log = logging.getLogger("unirank")
Body = TypeVar("Body", RankBody, SearchBody, MoreLikeThisBody, HomepageBody)
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Call:
    """One admitted request: who ranks, for which arm of a split, on which terms, and when it began."""

    live: Live
    service: RankingService
    arm: Arm | None
    request_id: str
    started: float

    @property
    def terms(self) -> Terms:
        """What its body is held against."""
        return Terms(self.live.settings, self.service.model.version, self.started)

    @property
    def model(self) -> ModelName:
        """Who answers."""
        return model_name(self.service.model, self.arm)

    @contextmanager
    def admitted(self, *requests: RankingRequest) -> Iterator[None]:
        """Hold room for these rankings, all of them or none. Raises `OverloadedError`."""
        candidates = sum(self.service.cost(request) for request in requests)
        first = requests[0]
        with self.live.gate.admitted(candidates, first.priority, first.deadline):
            yield

    def took_s(self) -> float:
        """Seconds since it was admitted."""
        return self.live.clock() - self.started


def live_of(request: Request) -> Live:
    """The live state that `create_app` put there."""
    live: Live = request.app.state.live
    return live


async def admit(
    request: Request, read: Callable[[bytes], Body], work: Callable[[Call, Body], Coroutine[Any, Any, msgspec.Struct]]
) -> Response:
    """Answer with what `work` makes of the body that `read` finds. Raises `UnavailableError`s before any work."""
    live = live_of(request)
    raw = await read_body(request, live.settings)
    live.ready()
    started = live.clock()
    body = read(raw)
    user_id = body.context.user_id if isinstance(body, RankBody) else body.user_id
    with live.held(user_id, body.model) as (service, arm), live.telemetry.rankings_under_way.track_inprogress():
        call = Call(live, service, arm, request.scope[REQUEST_ID], started)
        answer = await _unless_gone(request, work(call, body))
    _note_arm(call)
    return respond(answer)


def _note_arm(call: Call) -> None:
    """Count who answered which arm, and say it to those who log that much; users are not named."""
    if call.arm is not None:
        version = call.service.model.version
        call.live.telemetry.arms.labels(call.arm, version).inc()
        _log.debug("request %s: arm %s, model %s", call.request_id, call.arm, version)


async def _unless_gone(request: Request, work: Coroutine[Any, Any, Answer]) -> Answer:
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


async def rank_body(
    request: Request,
    kind: type[Body],
    work: Callable[[Call, Body], Coroutine[Any, Any, msgspec.Struct]],
    empty: bytes = b"",
) -> Response:
    """Answer with what `work` makes of the decoded body; `empty` stands for a body that is left out."""
    max_depth = live_of(request).settings.max_depth
    return await admit(request, lambda body: decode(body or empty, kind, max_depth), work)


async def read_body(request: Request, settings: Settings) -> bytes:
    """The body. Raises `BodyTooLargeError`, `BodyTimeoutError`, `CallerGoneError`."""
    try:
        async with asyncio.timeout(settings.body_timeout_ms / 1000):
            return await _read(request, settings.max_body_bytes)
    except TimeoutError as error:
        raise BodyTimeoutError(f"the body took longer than {settings.body_timeout_ms} ms") from error
    except ClientDisconnect as error:
        raise CallerGoneError("it hung up while it sent its body") from error


async def _read(request: Request, limit: int) -> bytes:
    chunks, size = [], 0
    async for chunk in request.stream():
        chunks.append(chunk)
        size += len(chunk)
        if size > limit:
            raise BodyTooLargeError(f"more than {limit} bytes")
    return b"".join(chunks)


def respond(answer: msgspec.Struct | dict[str, object], status: int = 200) -> Response:
    """An answer as JSON, the time of its stages in a header."""
    response = Response(msgspec.json.encode(answer), status, media_type="application/json")
    if isinstance(answer, RankAnswer):
        stages = msgspec.structs.asdict(answer.timings)
        response.headers["server-timing"] = ", ".join(f"{name};dur={ms:.2f}" for name, ms in stages.items())
    return response
