"""What every ranking route shares: read the body, decode, take room, work, answer. Knows no surface."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message

from app.asking import Terms
from app.errors import REQUEST_ID, BodyTimeoutError, BodyTooLargeError
from app.live import Live
from app.ranking import RankingRequest, RankingService
from app.schemas import RankAnswer
from app.settings import Settings
from app.wire import decode

Body = TypeVar("Body", bound=msgspec.Struct)
Answer = TypeVar("Answer")
CALLER_GONE = 499  # nobody reads it; metrics do


@dataclass(frozen=True, slots=True)
class Call:
    """One admitted request: who ranks, on which terms, and when it began."""

    live: Live
    service: RankingService
    request_id: str
    started: float

    @property
    def terms(self) -> Terms:
        """What its body is held against."""
        return Terms(self.live.settings, self.service.model.version, self.started)

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


async def admit(request: Request, work: Callable[[Call, bytes], Coroutine[Any, Any, msgspec.Struct]]) -> Response:
    """Answer with what `work` makes of the body. Raises `UnavailableError`s before any work."""
    live = live_of(request)
    body = await read_body(request, live.settings)
    with live.held() as service, live.telemetry.rankings_under_way.track_inprogress():
        call = Call(live, service, request.scope[REQUEST_ID], live.clock())
        answer = await _unless_gone(request, work(call, body))
    return Response(status_code=CALLER_GONE) if answer is None else respond(answer)


async def _unless_gone(request: Request, work: Coroutine[Any, Any, Answer]) -> Answer | None:
    """The result of `work`; None, and the work dropped, when the caller hangs up first."""
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
        return None
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

    async def decoded(call: Call, body: bytes) -> msgspec.Struct:
        return await work(call, decode(body or empty, kind, call.live.settings.max_depth))

    return await admit(request, decoded)


async def read_body(request: Request, settings: Settings) -> bytes:
    """The body. Raises `BodyTooLargeError`, `BodyTimeoutError`."""
    try:
        async with asyncio.timeout(settings.body_timeout_ms / 1000):
            return await _read(request, settings.max_body_bytes)
    except TimeoutError as error:
        raise BodyTimeoutError(f"the body took longer than {settings.body_timeout_ms} ms") from error


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
