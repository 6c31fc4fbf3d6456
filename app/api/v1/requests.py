"""Bodies become `RankingRequest`s: lengths held against the settings, what is not built refused.

Every function raises `InvalidRequestError` with all faults that it found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from app.api.v1.schemas import (
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
from app.errors import Fault, InvalidRequestError
from app.execution.admission import Priority, priority_of
from app.http.decoding import pointer
from app.ranking.homepage import Row
from app.ranking.types import DEFAULT_LIMIT, RankingRequest
from app.settings import Settings
from model.context.context import HOMEPAGE, MORE_LIKE_THIS, SEARCH, Context, HistoryEvent

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
    check.options(body)
    check.rows(body.rows)
    check.done()
    exclude = frozenset(body.exclude)
    return [_row(row, body, context, exclude, terms, place) for place, row in enumerate(body.rows)]


class Lengths:
    """Collects faults, so that one answer names them all; knows how long ids, queries and lists may be."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._faults: list[Fault] = []

    def fault(self, code: str, detail: str, *at: str | int) -> None:
        if not self.full:
            self._faults.append(Fault(pointer(*at), code, detail))

    @property
    def full(self) -> bool:
        """Whether further faults would not be named."""
        return len(self._faults) >= _MOST_FAULTS

    def done(self) -> None:
        if self._faults:
            raise InvalidRequestError(*self._faults)

    def id(self, value: str | None, *at: str | int) -> None:
        self._text(value, self.settings.max_id_chars, at)

    def query(self, value: str | None, *at: str | int) -> None:
        self._text(value, self.settings.max_query_chars, at)

    def _text(self, value: str | None, limit: int, at: _At) -> None:
        if value is not None and len(value) > limit:
            self.fault("too_long", f"{len(value)} characters, the limit is {limit}", *at)

    def size(self, size: int, limit: int, *at: str | int) -> bool:
        """Whether it is within the limit. What is not, is not looked at: that may take long."""
        if size > limit:
            self.fault("too_many", f"{size} entries, the limit is {limit}", *at)
        return size <= limit

    def ids(self, values: Sequence[str], *at: str | int) -> None:
        longest = self.settings.max_id_chars
        if self.size(len(values), self.settings.max_candidates, *at) and values and len(max(values, key=len)) > longest:
            for place, value in enumerate(values):
                if self.full:
                    break
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
        if candidates is None or not self.size(len(candidates), self.settings.max_candidates, *at):
            return None
        entity_ids = _candidate_ids(candidates)
        self.ids(entity_ids, *at)
        if entity_ids is not candidates:
            for place, candidate in enumerate(candidates):
                if self.full:
                    break
                if isinstance(candidate, Candidate) and candidate.features:
                    self.unbuilt(True, *at, place, "features")
        return entity_ids

    def history(self, events: Sequence[str | PastEvent], *at: str | int) -> tuple[HistoryEvent, ...]:
        if not self.size(len(events), self.settings.max_history, *at):
            return ()
        for place, event in enumerate(events):
            if self.full:
                return ()
            self.event(event, *at, place)
        return _history(events)

    def event(self, event: str | PastEvent, *at: str | int) -> None:
        if isinstance(event, str):
            self.id(event, *at)
        else:
            self.id(event.entity_id, *at, "entity_id")
            self.id(event.task, *at, "task")

    def page(self, body: PageOptions) -> None:
        """Where candidates are retrieved, the page may not reach beyond as many as a caller may give."""
        most = self.settings.max_candidates
        if body.candidates is None and body.offset + (body.limit or 1) > most:
            at = "offset" if body.limit is None or body.offset >= most else "limit"
            self.fault("too_many", f"limit and offset together reach beyond {most} candidates", at)

    def rows(self, rows: Sequence[RowBody]) -> None:
        if not self.size(len(rows), self.settings.max_rows, "rows"):
            return
        asked = sum(self._asked(row) for row in rows)
        if asked > (most := self.settings.max_homepage_candidates):
            self.fault("too_many", f"{asked} candidates in all rows together, the limit is {most}", "rows")
            return
        seen: set[str] = set()
        for place, row in enumerate(rows):
            self.row(row, seen, "rows", place)

    def _asked(self, row: RowBody) -> int:
        """As many candidates as it counts for; too many of one row are said of that row."""
        asked = int(row.limit) if row.candidates is None else len(row.candidates)
        return min(asked, self.settings.max_candidates)

    def row(self, row: RowBody, seen: set[str], *at: str | int) -> None:
        self.id(row.row_id, *at, "row_id")
        self.query(row.title, *at, "title")
        self.candidates(row.candidates, *at, "candidates")
        if row.candidates is None:  # a row that names no limit has one of 10
            self.size(int(row.limit), max(self.settings.max_candidates, DEFAULT_LIMIT), *at, "limit")
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
    history = check.history(body.history or (), *at, "history")
    return Context(task, body.user_id, body.query, body.country, source, history)


def _history(events: Sequence[str | PastEvent]) -> tuple[HistoryEvent, ...]:
    """Oldest first: as given, or by time where every event has one."""
    history = tuple(HistoryEvent(event) if isinstance(event, str) else _event(event) for event in events)
    times = [event.timestamp for event in history if event.timestamp is not None]
    if len(times) < len(history):
        return history
    return tuple(history[place] for place in sorted(range(len(times)), key=times.__getitem__))


def _event(event: PastEvent) -> HistoryEvent:
    timestamp = None if event.timestamp is None else int(event.timestamp)
    return HistoryEvent(event.entity_id, event.label, event.task, timestamp)


def _page_request(body: PageOptions, context: Context, history_given: bool, check: _Check, at: _At) -> RankingRequest:
    check.options(body)
    check.page(body)
    candidates = check.candidates(body.candidates, "candidates")
    check.done()
    return RankingRequest(
        context,
        deadline=_deadline(body, check.terms),
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
    """How many items to show; all given candidates unless told otherwise, some of those that are retrieved."""
    if body.limit is not None:
        return int(body.limit)
    return None if body.candidates else min(DEFAULT_LIMIT, settings.max_candidates - int(body.offset))


def _row(row: RowBody, body: HomepageBody, context: Context, exclude: frozenset[str], terms: Terms, place: int) -> Row:
    request = RankingRequest(
        Context(HOMEPAGE, context.user_id, context.query, context.country, None, context.history, row.title),
        deadline=_deadline(body, terms),
        candidates=None if row.candidates is None else _candidate_ids(row.candidates),
        history_given=body.history is not None,
        limit=int(row.limit),
        candidates_at=pointer("rows", place, "candidates"),
        exclude=exclude,
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


def _candidate_ids(candidates: list[str | Candidate]) -> list[str]:
    """The ids; the list itself where it holds nothing else, as nearly all do: none is looked at by itself then."""
    if set(map(type, candidates)) == {str}:
        return cast("list[str]", candidates)
    return [candidate if isinstance(candidate, str) else candidate.id for candidate in candidates]
