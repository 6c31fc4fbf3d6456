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

_TEXT_FIELDS = {"q": "query", "user_id": "user_id", "country": "country", "seen": "seen"}
_INTEGERS = ("limit", "offset", "timeout_ms")
_ID = TEXT | {"type": "string", "x-limit": "max_id_chars"}
_ALLOWED = frozenset({*_TEXT_FIELDS, *_INTEGERS, "return"})


@router.post("/v1/search", responses=ranking_answers(RankAnswer), openapi_extra=takes(SearchBody))
@needs(Scope.RANK)
async def search(request: Request) -> Response:
    """Entities for a query; the query is empty before the user types."""
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
    """The same as a GET request. `return` takes names separated by commas; empty parameters are ignored."""
    query = request.scope["query_string"]
    return await answer(request, replace(SEARCH, decode=lambda *_: _body_from_query(query), map=_linked_request))


def _linked_request(body: SearchBody, limits: RequestLimits) -> RankingRequest:
    with _parameter_faults():
        return search_request(body, limits)


def _body_from_query(query: bytes) -> SearchBody:
    given = {name: value for name, value in decode_query(query, _ALLOWED).items() if value}
    values: dict[str, object] = {_TEXT_FIELDS[name]: given[name] for name in _TEXT_FIELDS if name in given}
    values.update({name: _integer(name, given[name]) for name in _INTEGERS if name in given})
    if "return" in given:
        values["return"] = [name for name in given["return"].split(",") if name]
    with _parameter_faults():
        return convert(values, SearchBody)


@contextmanager
def _parameter_faults() -> Iterator[None]:
    """Make faults of a body that was built from a query string point at its parameters."""
    try:
        yield
    except InvalidRequestError as error:
        raise InvalidRequestError(*map(_parameter_fault, error.faults)) from error


def _parameter_fault(fault: Fault) -> Fault:
    """The same fault with a pointer to its query parameter; parameters have no parts.

    >>> [_parameter_fault(Fault(pointer, "too_long", "")).pointer for pointer in ("/query", "/return/3", "")]
    ['/q', '/return', '']
    """
    field = fault.pointer[1:].partition("/")[0]
    parameter = next((name for name, body_field in _TEXT_FIELDS.items() if body_field == field), field)
    return Fault(f"/{parameter}" if parameter else "", fault.code, fault.detail)


def _integer(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 10):
        raise invalid(f"/{name}", "wrong_type", f"expected a whole number, got '{value}'")
    return int(value)
