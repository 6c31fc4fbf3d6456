"""`POST /v1/search` and `GET /v1/search`: the search bar."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from fastapi import APIRouter, Request, Response

from app.api.endpoint import Surface, answer
from app.api.openapi import parameters, ranking_answers, takes
from app.api.v1.request_checks import RequestLimits
from app.api.v1.requests import search_request
from app.api.v1.responses import rank_answer
from app.api.v1.schemas import TEXT, RankAnswer, SearchBody
from app.errors import Fault, InvalidRequestError, invalid
from app.http.auth.route import GuardedRoute, needs
from app.http.auth.scopes import Scope
from app.http.decoding import convert, decode_query, decoder
from app.ranking.service import RankingService
from app.ranking.types import RankingRequest

router = APIRouter(tags=["ranking"], route_class=GuardedRoute)
SEARCH = Surface(decoder(SearchBody), search_request, RankingService.rank, rank_answer)

_TEXT = {"q": "query", "user_id": "user_id", "country": "country", "seen": "seen"}
_WHOLE = ("limit", "offset", "timeout_ms")
_ID = TEXT | {"type": "string", "x-limit": "max_id_chars"}
_ALLOWED = frozenset({*_TEXT, *_WHOLE, "return"})


@router.post("/v1/search", responses=ranking_answers(RankAnswer), openapi_extra=takes(SearchBody))
@needs(Scope.RANK)
async def search(request: Request) -> Response:
    """Entities for a query; an empty query is the canvas before the first letter."""
    return await answer(request, SEARCH)


@router.get(
    "/v1/search",
    responses=ranking_answers(RankAnswer),
    openapi_extra=parameters(
        q=TEXT | {"type": "string", "x-limit": "max_query_chars"},
        user_id=_ID,
        country=_ID,
        seen={"type": "string", "enum": ["", "keep", "drop", "demote"]},
        return_=TEXT | {"type": "string"},
        limit={"type": "integer", "minimum": 1, "x-limit": "max_candidates"},
        offset={"type": "integer", "minimum": 0, "x-limit": "max_candidates"},
        timeout_ms={"type": "integer", "minimum": 1, "maximum": 600_000},
    ),
)
@needs(Scope.RANK)
async def search_by_link(request: Request) -> Response:
    """The same as a link. `return` takes names by comma; an empty parameter counts as not given."""
    query = request.scope["query_string"]
    return await answer(request, replace(SEARCH, decode=lambda *_: _from_query(query), map=_linked_request))


def _linked_request(body: SearchBody, limits: RequestLimits) -> RankingRequest:
    with _faults_of_parameters():
        return search_request(body, limits)


def _from_query(query: bytes) -> SearchBody:
    given = {name: value for name, value in decode_query(query, _ALLOWED).items() if value}
    values: dict[str, object] = {_TEXT[name]: given[name] for name in _TEXT if name in given}
    values.update({name: _whole(name, given[name]) for name in _WHOLE if name in given})
    if "return" in given:
        values["return"] = [name for name in given["return"].split(",") if name]
    with _faults_of_parameters():
        return convert(values, SearchBody)


@contextmanager
def _faults_of_parameters() -> Iterator[None]:
    """Faults of the body that was made of a query string point at its parameters."""
    try:
        yield
    except InvalidRequestError as error:
        raise InvalidRequestError(*map(_of_parameter, error.faults)) from error


def _of_parameter(fault: Fault) -> Fault:
    """The same fault at the parameter that it came from; parameters have no parts.

    >>> [_of_parameter(Fault(pointer, "too_long", "")).pointer for pointer in ("/query", "/return/3", "")]
    ['/q', '/return', '']
    """
    field = fault.pointer[1:].partition("/")[0]
    parameter = next((name for name, filled in _TEXT.items() if filled == field), field)
    return Fault(f"/{parameter}" if parameter else "", fault.code, fault.detail)


def _whole(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 10):
        raise invalid(f"/{name}", "wrong_type", f"expected a whole number, got '{value}'")
    return int(value)
