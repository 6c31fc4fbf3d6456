"""How long ids, queries and lists of a request may be, and what is not built. Collects faults; maps nothing.

`RequestCheck.done` raises `InvalidRequestError` with all faults that were found.
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

_MOST_FAULTS = 20  # a body of 5,000 bad ids gets these many faults, not 5,000
At = tuple[str | int, ...]  # where a value is: names of fields and places in lists


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """What a request is held against. `started` is on the clock of deadlines."""

    settings: Settings
    model_version: str
    started: float


class LengthChecks:
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

    def _text(self, value: str | None, limit: int, at: At) -> None:
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


class RequestCheck(LengthChecks):
    """Adds what only a ranking can get wrong."""

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
            serves = self.limits.model_version
            self.fault("not_supported", f"only a model that serves can be named; '{serves}' does", "model")

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


def past_events(events: Sequence[str | PastEvent]) -> tuple[HistoryEvent, ...]:
    """Oldest first: as given, or by time where every event has one."""
    history = tuple(HistoryEvent(event) if isinstance(event, str) else _event(event) for event in events)
    times = [event.timestamp for event in history if event.timestamp is not None]
    if len(times) < len(history):
        return history
    return tuple(history[place] for place in sorted(range(len(times)), key=times.__getitem__))


def _event(event: PastEvent) -> HistoryEvent:
    timestamp = None if event.timestamp is None else int(event.timestamp)
    return HistoryEvent(event.entity_id, event.label, event.task, timestamp)


def candidate_ids(candidates: list[str | Candidate]) -> list[str]:
    """The ids; the list itself where it holds nothing else, as nearly all do: none is looked at by itself then."""
    if set(map(type, candidates)) == {str}:
        return cast("list[str]", candidates)
    return [candidate if isinstance(candidate, str) else candidate.id for candidate in candidates]
