"""Checks the lengths of a request's ids, queries and lists, and refuses unsupported options. Maps nothing.

`RequestCheck.done` raises `InvalidRequestError` with all collected faults.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from app.api.v1.schemas import Candidate, Options, PageOptions, PastEvent, RowBody
from app.errors import Fault, InvalidRequestError
from app.http.decoding import pointer
from app.ranking.types import DEFAULT_LIMIT
from app.settings import Settings
from model.context.context import HistoryEvent

_MAX_FAULTS = 20  # a body with 5,000 bad ids gets this many faults, not 5,000
At = tuple[str | int, ...]  # the path of a value: field names and list indices


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """What a request is checked against. `started`: when it began, on the clock of deadlines."""

    settings: Settings
    model_version: str
    started: float


class LengthChecks:
    """Checks the lengths of ids, queries and lists. Collects faults, so that one answer names them all."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._faults: list[Fault] = []

    def fault(self, code: str, detail: str, *at: str | int) -> None:
        if not self.full:
            self._faults.append(Fault(pointer(*at), code, detail))

    @property
    def full(self) -> bool:
        """Whether further faults are ignored."""
        return len(self._faults) >= _MAX_FAULTS

    def done(self) -> None:
        if self._faults:
            raise InvalidRequestError(*self._faults)

    def id(self, value: str | None, *at: str | int) -> None:
        self._text(value, self.settings.max_id_chars, at)

    def query(self, value: str | None, *at: str | int) -> None:
        self._text(value, self.settings.max_query_chars, at)

    def _text(self, value: str | None, limit: int, at: At) -> None:
        if value is not None and len(value) > limit:
            self.fault("too_long", f"{len(value)} characters, the limit is {limit}", *at)

    def size(self, size: int, limit: int, *at: str | int) -> bool:
        """Whether a list is within the limit. Callers do not check the entries of a longer one: that may take long."""
        if size > limit:
            self.fault("too_many", f"{size} entries, the limit is {limit}", *at)
        return size <= limit

    def ids(self, values: Sequence[str], *at: str | int) -> None:
        limit = self.settings.max_id_chars
        if self.size(len(values), self.settings.max_candidates, *at) and values and len(max(values, key=len)) > limit:
            for place, value in enumerate(values):
                if self.full:
                    break
                self.id(value, *at, place)


class RequestCheck(LengthChecks):
    """Adds the checks of ranking requests."""

    def __init__(self, limits: RequestLimits) -> None:
        super().__init__(limits.settings)
        self.limits = limits

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
        if body.model not in (None, self.limits.model_version):
            version = self.limits.model_version
            self.fault("not_supported", f"only a model that serves can be named; '{version}' does", "model")

    def candidates(self, candidates: list[str | Candidate] | None, *at: str | int) -> list[str] | None:
        if candidates is None or not self.size(len(candidates), self.settings.max_candidates, *at):
            return None
        entity_ids = candidate_ids(candidates)
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
        return past_events(events)

    def event(self, event: str | PastEvent, *at: str | int) -> None:
        if isinstance(event, str):
            self.id(event, *at)
        else:
            self.id(event.entity_id, *at, "entity_id")
            self.id(event.task, *at, "task")

    def page(self, body: PageOptions) -> None:
        """If candidates are retrieved, the page must end within the maximum number of candidates."""
        limit = self.settings.max_candidates
        if body.candidates is None and body.offset + (body.limit or 1) > limit:
            at = "offset" if body.limit is None or body.offset >= limit else "limit"
            self.fault("too_many", f"limit and offset together reach beyond {limit} candidates", at)

    def rows(self, rows: Sequence[RowBody]) -> None:
        if not self.size(len(rows), self.settings.max_rows, "rows"):
            return
        total = sum(self._candidate_count(row) for row in rows)
        if total > (limit := self.settings.max_homepage_candidates):
            self.fault("too_many", f"{total} candidates in all rows together, the limit is {limit}", "rows")
            return
        row_ids: set[str] = set()
        for place, row in enumerate(rows):
            self.row(row, row_ids, "rows", place)

    def _candidate_count(self, row: RowBody) -> int:
        """The candidates of a row, at most the limit per row: `row` reports more as a fault of that row."""
        count = int(row.limit) if row.candidates is None else len(row.candidates)
        return min(count, self.settings.max_candidates)

    def row(self, row: RowBody, row_ids: set[str], *at: str | int) -> None:
        self.id(row.row_id, *at, "row_id")
        self.query(row.title, *at, "title")
        self.candidates(row.candidates, *at, "candidates")
        if row.candidates is None:  # a row without a limit gets 10
            self.size(int(row.limit), max(self.settings.max_candidates, DEFAULT_LIMIT), *at, "limit")
        self.unbuilt(row.filter is not None, *at, "filter")
        if row.row_id in row_ids:
            self.fault("duplicate", f"row_id '{row.row_id}' is given twice", *at, "row_id")
        row_ids.add(row.row_id)


def past_events(events: Sequence[str | PastEvent]) -> tuple[HistoryEvent, ...]:
    """A history, oldest first: sorted by time if every event has one, else as given."""
    history = tuple(HistoryEvent(event) if isinstance(event, str) else _history_event(event) for event in events)
    times = [event.timestamp for event in history if event.timestamp is not None]
    if len(times) < len(history):
        return history
    return tuple(history[place] for place in sorted(range(len(times)), key=times.__getitem__))


def _history_event(event: PastEvent) -> HistoryEvent:
    timestamp = None if event.timestamp is None else int(event.timestamp)
    return HistoryEvent(event.entity_id, event.label, event.task, timestamp)


def candidate_ids(candidates: list[str | Candidate]) -> list[str]:
    """The ids of candidates. A list of ids only, the usual case, is returned itself, without a loop over it."""
    if set(map(type, candidates)) == {str}:
        return cast("list[str]", candidates)
    return [candidate if isinstance(candidate, str) else candidate.id for candidate in candidates]
