"""Joins events into rows of a dataset: one row per (context, entity) shown or engaged. Reads and writes no file.

An impression becomes a row of label 0 for each entity that it shows; an engagement with the same `ranking_id` sets the
label of its row, and a stored row title becomes a column of its ranking, in whichever order they were stored.
Everything is in memory until all events are known.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Literal

import msgspec

from app.events.row_titles import ROW_TITLE_ENTRY
from model.context.context import ROW_TITLE

EXTRA = "context."
_Text = str | None
_Context = tuple[str, _Text, _Text, _Text, _Text, tuple[tuple[str, str | float], ...]]
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class _Stored(msgspec.Struct, kw_only=True):
    """A stored event of any version; fields that are not needed are not decoded."""

    type: Literal["engagement", "impression", "row_title"]
    timestamp: int | float
    task: str
    user_id: _Text = None
    query: _Text = None
    country: _Text = None
    source_entity_id: _Text = None
    ranking_id: _Text = None
    entity_id: _Text = None
    label: float = 0.0
    shown: list[str] = msgspec.field(default_factory=list)
    row_title: _Text = None


_DECODER = msgspec.json.Decoder(_Stored)


@dataclass(slots=True)
class _Entry:
    """One entity of a ranking."""

    timestamp: int
    position: int | None
    label: float


@dataclass(slots=True)
class _Ranking:
    """The entities shown in one context, by id, with their labels."""

    context: _Context
    entries: dict[str, _Entry] = field(default_factory=dict)

    def show(self, shown: list[str], timestamp: int) -> None:
        """Add shown entities: each keeps its first position; a further page continues after the last position."""
        place = len(self.entries)
        for entity_id in shown:
            if entity_id not in self.entries:
                place += 1
                self.entries[entity_id] = _Entry(timestamp, place, 0.0)

    def engage(self, entity_id: str, label: float, timestamp: int) -> None:
        """Set the label of an entity: the highest of all its labels. An entity that was not shown has no position."""
        entry = self.entries.setdefault(entity_id, _Entry(timestamp, None, label))
        entry.label = max(entry.label, label)


class LabelJoin:
    """Joins stored events, added in any order, into the rows of a dataset."""

    def __init__(self) -> None:
        self.events = 0
        self.unusable = 0
        self._rankings: dict[str, list[_Ranking]] = {}
        self._titles: dict[str, str] = {}
        self._engagements: list[tuple[str, _Context, str, float, int]] = []

    def add(self, payload: bytes) -> None:
        """Add one event or row title as it was stored. A payload that is neither counts as `unusable`."""
        try:
            stored = _DECODER.decode(payload)
        except _UNREADABLE:
            self.unusable += 1
            return
        if stored.type == ROW_TITLE_ENTRY:
            self._titles[stored.ranking_id or ""] = stored.row_title or ""
            return
        is_engagement = stored.type == "engagement"
        if not (stored.entity_id if is_engagement else stored.shown) or not stored.task:
            self.unusable += 1
            return
        self.events += 1
        name, context, time = _ranking_name(stored, payload), _context(stored, payload), int(stored.timestamp)
        if is_engagement:
            self._engagements.append((name, context, stored.entity_id or "", _clean_label(stored.label), time))
        else:
            self._get_or_add_ranking(name, context).show([entity_id for entity_id in stored.shown if entity_id], time)

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows, ranking by ranking. Call it once, after all events have been added."""
        for name, context, entity_id, label, timestamp in self._engagements:
            self._ranking_of(name, context, entity_id).engage(entity_id, label, timestamp)
        self._engagements.clear()
        for name, rankings in self._rankings.items():
            title = {ROW_TITLE: self._titles[name]} if name in self._titles else {}
            for number, ranking in enumerate(rankings):
                yield from _rows(name if number == 0 else self._unique_name(name, number), ranking, title)

    def _get_or_add_ranking(self, name: str, context: _Context) -> _Ranking:
        """The ranking of this id in this context: the rows of one ranking share their context."""
        rankings = self._rankings.setdefault(name, [])
        for ranking in rankings:
            if ranking.context == context:
                return ranking
        rankings.append(_Ranking(context))
        return rankings[-1]

    def _ranking_of(self, name: str, context: _Context, entity_id: str) -> _Ranking:
        """The ranking that an engagement belongs to: preferably one that showed the entity, then one of the same user.
        The engagement's context may have fewer fields than the ranking's.
        """
        rankings = self._rankings.get(name)
        if not rankings:
            return self._get_or_add_ranking(name, context)
        return max(rankings, key=lambda ranking: (_was_shown(ranking, entity_id), ranking.context[1] == context[1]))

    def _unique_name(self, name: str, number: int) -> str:
        """A unique id for a ranking that shares the id `name` with rankings of other contexts."""
        candidate = f"{name}#{number + 1}"
        while candidate in self._rankings:
            candidate += "#"
        return candidate


def _was_shown(ranking: _Ranking, entity_id: str) -> bool:
    return entity_id in ranking.entries and ranking.entries[entity_id].position is not None


def _rows(name: str, ranking: _Ranking, title: dict[str, str]) -> Iterator[dict[str, Any]]:
    task, user_id, query, country, source, extras = ranking.context
    for entity_id, entry in ranking.entries.items():
        yield {
            "ranking_id": name,
            "timestamp": entry.timestamp,
            "task": task,
            "user_id": user_id,
            "query": query,
            "country": country,
            "source_entity_id": source,
            "entity_id": entity_id,
            "position": entry.position,
            "label": entry.label,
            **dict(extras),
            **title,
        }


def _ranking_name(stored: _Stored, payload: bytes) -> str:
    """The ranking's id; without one, a hash of the event, so that the same event sent twice is one."""
    return stored.ranking_id or f"event-{blake2b(payload, digest_size=12).hexdigest()}"


def _context(stored: _Stored, payload: bytes) -> _Context:
    extras: dict[str, Any] = {}
    if b'"context.' in payload:
        fields = msgspec.json.decode(payload, type=dict[str, Any])
        extras = {
            key: value for key, value in fields.items() if key.startswith(EXTRA) and isinstance(value, (str, float))
        }
    return (
        stored.task, stored.user_id or None, stored.query, stored.country or None, stored.source_entity_id or None,
        tuple(sorted(extras.items())),
    )  # fmt: skip


def _clean_label(label: float) -> float:
    """Earlier versions accepted any number; labels of a dataset are never below 0."""
    return label if label > 0 and math.isfinite(label) else 0.0
