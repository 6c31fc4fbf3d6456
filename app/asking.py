"""Bodies become `RankingRequest`s: lengths held against the settings, what is not built refused.

Every function raises `InvalidRequestError` with all faults that it found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from app.admission import Priority, priority_of
from app.errors import Fault, InvalidRequestError
from app.ranking import RankingRequest
from app.rows import Row
from app.schemas import (
    Candidate,
    ContextBody,
    FlatBody,
    HomepageBody,
    MoreLikeThisBody,
    Options,
    PageOptions,
    PastEvent,
    RankBody,
    RowBody,
    SearchBody,
)
from app.settings import Settings
from app.wire import pointer
from model.data.context import HOMEPAGE, MORE_LIKE_THIS, SEARCH, Context, HistoryEvent

_MOST_FAULTS = 20  # a body of 5,000 bad ids gets these many faults, not 5,000
_At = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Terms:
    """What a request is held against. `started` is on the clock of deadlines."""

    settings: Settings
    model_version: str
    started: float


def ranking_request(body: RankBody, terms: Terms) -> RankingRequest:
    """What `POST /v1/rank` asks for."""
    check = _Check(terms)
    at: _At = ("context",)
    check.id(body.context.task, *at, "task")
    check.id(body.context.source_entity_id, *at, "source_entity_id")
    context = _context(body.context, body.context.task, body.context.source_entity_id, check, at)
    return _page_request(body, context, body.context.history is not None, check, at)


def search_request(body: SearchBody, terms: Terms) -> RankingRequest:
    """What `/v1/search` asks for."""
    return _flat_request(body, SEARCH, None, _Check(terms))


def more_like_this_request(entity_id: str, body: MoreLikeThisBody, terms: Terms) -> RankingRequest:
    """What `POST /v1/more-like-this/{entity_id}` asks for."""
    return _flat_request(body, MORE_LIKE_THIS, entity_id, _Check(terms))


def row_requests(body: HomepageBody, terms: Terms) -> list[Row]:
    """The rows that `POST /v1/homepage` asks for."""
    check = _Check(terms)
    context = _context(body, HOMEPAGE, None, check, ())
    check.size(len(body.rows), terms.settings.max_rows, "rows")
    check.options(body)
    seen_rows: set[str] = set()
    for place, row in enumerate(body.rows[: terms.settings.max_rows]):
        check.row(row, seen_rows, "rows", place)
    check.done()
    return [_row(row, body, context, terms) for row in body.rows]


class Lengths:
    """Collects faults, so that one answer names them all; knows how long ids, queries and lists may be."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._faults: list[Fault] = []

    def fault(self, code: str, detail: str, *at: str | int) -> None:
        self._faults.append(Fault(pointer(*at), code, detail))

    def done(self) -> None:
        if self._faults:
            raise InvalidRequestError(*self._faults[:_MOST_FAULTS])

    def id(self, value: str | None, *at: str | int) -> None:
        self._text(value, self.settings.max_id_chars, at)

    def query(self, value: str | None, *at: str | int) -> None:
        self._text(value, self.settings.max_query_chars, at)

    def _text(self, value: str | None, limit: int, at: _At) -> None:
        if value is not None and len(value) > limit:
            self.fault("too_long", f"{len(value)} characters, the limit is {limit}", *at)

    def size(self, size: int, limit: int, *at: str | int) -> None:
        if size > limit:
            self.fault("too_many", f"{size} entries, the limit is {limit}", *at)

    def ids(self, values: Sequence[str], *at: str | int) -> None:
        self.size(len(values), self.settings.max_candidates, *at)
        longest = self.settings.max_id_chars
        if values and len(max(values, key=len)) > longest:
            for place, value in enumerate(values):
                self.id(value, *at, place)


class _Check(Lengths):
    """Adds what only a ranking can get wrong."""

    def __init__(self, terms: Terms) -> None:
        super().__init__(terms.settings)
        self.terms = terms

    def unbuilt(self, is_set: bool, *at: str | int) -> None:
        if is_set:
            self.fault("not_supported", f"'{at[-1]}' is not supported yet", *at)

    def options(self, body: Options) -> None:
        self.ids(body.exclude, "exclude")
        self.ids(body.fields, "return")
        self.unbuilt(body.filter is not None, "filter")
        self.unbuilt(bool(body.boosts), "boosts")
        self.unbuilt(bool(body.pins), "pins")
        self.unbuilt(body.diversity != 0, "diversity")
        self.unbuilt(body.explore != 0, "explore")
        self.unbuilt(body.explain, "explain")
        if body.model not in (None, self.terms.model_version):
            serves = self.terms.model_version
            self.fault("not_supported", f"only a model that serves can be named; '{serves}' does", "model")

    def candidates(self, candidates: list[str | Candidate] | None, *at: str | int) -> list[str] | None:
        entity_ids = _candidate_ids(candidates)
        self.ids(entity_ids or [], *at)
        if entity_ids is not candidates:
            for place, candidate in enumerate(candidates or []):
                if isinstance(candidate, Candidate) and candidate.features:
                    self.unbuilt(True, *at, place, "features")
        return entity_ids

    def row(self, row: RowBody, seen: set[str], *at: str | int) -> None:
        self.id(row.row_id, *at, "row_id")
        self.query(row.title, *at, "title")
        self.candidates(row.candidates, *at, "candidates")
        self.unbuilt(row.filter is not None, *at, "filter")
        if row.row_id in seen:
            self.fault("duplicate", f"row_id '{row.row_id}' is given twice", *at, "row_id")
        seen.add(row.row_id)


def _flat_request(body: FlatBody, task: str, source: str | None, check: _Check) -> RankingRequest:
    return _page_request(body, _context(body, task, source, check, ()), body.history is not None, check, ())


def _context(
    body: ContextBody | FlatBody | HomepageBody, task: str, source: str | None, check: _Check, at: _At
) -> Context:
    check.id(body.user_id, *at, "user_id")
    check.id(body.country, *at, "country")
    check.query(body.query, *at, "query")
    check.unbuilt(bool(body.features), *at, "features")
    history = _history(body.history or [])
    check.ids([event.entity_id for event in history], *at, "history")
    for place, event in enumerate(body.history or ()):
        if isinstance(event, PastEvent):
            check.id(event.task, *at, "history", place, "task")
    return Context(task, body.user_id, body.query, body.country, source, history)


def _history(events: Sequence[str | PastEvent]) -> tuple[HistoryEvent, ...]:
    """Oldest first: as given, or by time where every event has one."""
    history = tuple(HistoryEvent(event) if isinstance(event, str) else _event(event) for event in events)
    timed = [(event.timestamp, place) for place, event in enumerate(history) if event.timestamp is not None]
    return tuple(history[place] for _, place in sorted(timed)) if len(timed) == len(history) else history


def _event(event: PastEvent) -> HistoryEvent:
    timestamp = None if event.timestamp is None else int(event.timestamp)
    return HistoryEvent(event.entity_id, event.label, event.task, timestamp)


def _page_request(body: PageOptions, context: Context, history_given: bool, check: _Check, at: _At) -> RankingRequest:
    check.options(body)
    candidates = check.candidates(body.candidates, "candidates")
    check.done()
    return RankingRequest(
        context,
        deadline=_deadline(body, check.terms),
        candidates=candidates,
        history_given=history_given,
        limit=None if body.limit is None else int(body.limit),
        offset=int(body.offset),
        exclude=frozenset(body.exclude),
        seen=body.seen,
        unknown=body.unknown,
        fields=tuple(body.fields),
        at=pointer(*at),
        priority=_priority(body, context.task),
    )


def _row(row: RowBody, body: HomepageBody, context: Context, terms: Terms) -> Row:
    request = RankingRequest(
        Context(HOMEPAGE, context.user_id, context.query, context.country, None, context.history, row.title),
        deadline=_deadline(body, terms),
        candidates=_candidate_ids(row.candidates),
        history_given=body.history is not None,
        exclude=frozenset(body.exclude),
        seen=body.seen,
        unknown=body.unknown,
        fields=tuple(body.fields),
        priority=_priority(body, HOMEPAGE),
    )
    return Row(row.row_id, request, int(row.limit))


def _priority(body: Options, task: str) -> Priority:
    return priority_of(task) if body.priority is None else Priority[body.priority.upper()]


def _deadline(body: Options, terms: Terms) -> float:
    timeout_ms = terms.settings.timeout_ms if body.timeout_ms is None else body.timeout_ms
    return terms.started + timeout_ms / 1000


def _candidate_ids(candidates: list[str | Candidate] | None) -> list[str] | None:
    """The ids; the list itself where it holds nothing else, as nearly all do: none is looked at by itself then."""
    if candidates is None or set(map(type, candidates)) == {str}:
        return cast("list[str] | None", candidates)
    return [candidate if isinstance(candidate, str) else candidate.id for candidate in candidates]
