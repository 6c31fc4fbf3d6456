"""Events as rows of a dataset: one row per (context, entity) shown or engaged, labels joined. Reads and writes no file.

An impression gives a row of label 0 for each entity that it shows; an engagement with that `ranking_id` gives its row
the label, whichever of the two was stored first. Everything is held in memory until all events are known.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Literal

import msgspec

EXTRA = "context."
_Text = str | None
_Context = tuple[str, _Text, _Text, _Text, _Text, tuple[tuple[str, str | float], ...]]
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class _Stored(msgspec.Struct, kw_only=True):
    """A stored event, however old; what is not needed is not looked at."""

    type: Literal["engagement", "impression"]
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


_DECODER = msgspec.json.Decoder(_Stored)


@dataclass(slots=True)
class _Entry:
    """One entity of a ranking."""

    timestamp: int
    position: int | None
    label: float


@dataclass(slots=True)
class _Ranking:
    """What one context was shown, by entity, and what came of it."""

    context: _Context
    entries: dict[str, _Entry] = field(default_factory=dict)

    def show(self, shown: list[str], timestamp: int) -> None:
        """Each entity keeps its first place; a further page goes on behind the last place."""
        place = len(self.entries)
        for entity_id in shown:
            if entity_id not in self.entries:
                place += 1
                self.entries[entity_id] = _Entry(timestamp, place, 0.0)

    def engage(self, entity_id: str, label: float, timestamp: int) -> None:
        """The highest of all labels holds. What was not shown has no place."""
        entry = self.entries.setdefault(entity_id, _Entry(timestamp, None, label))
        entry.label = max(entry.label, label)


class LabelJoin:
    """Takes stored events, in any order; gives the rows of a dataset once all are there."""

    def __init__(self) -> None:
        self.events = 0
        self.unusable = 0
        self._rankings: dict[str, list[_Ranking]] = {}
        self._engaged: list[tuple[str, _Context, str, float, int]] = []

    def add(self, payload: bytes) -> None:
        """Take one event as it was stored. What is none counts as `unusable`."""
        try:
            stored = _DECODER.decode(payload)
        except _UNREADABLE:
            self.unusable += 1
            return
        is_engagement = stored.type == "engagement"
        if not (stored.entity_id if is_engagement else stored.shown) or not stored.task:
            self.unusable += 1
            return
        self.events += 1
        name, context, time = _name(stored, payload), _context(stored, payload), int(stored.timestamp)
        if is_engagement:
            self._engaged.append((name, context, stored.entity_id or "", _grade(stored.label), time))
        else:
            self._ranking(name, context).show([one for one in stored.shown if one], time)

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows, ranking by ranking. Call it once, when all events were added."""
        for name, context, entity_id, label, timestamp in self._engaged:
            self._ranking_of(name, context, entity_id).engage(entity_id, label, timestamp)
        self._engaged.clear()
        for name, rankings in self._rankings.items():
            for number, ranking in enumerate(rankings):
                yield from _rows(name if number == 0 else self._free(name, number), ranking)

    def _ranking(self, name: str, context: _Context) -> _Ranking:
        """The ranking of that name in that context: rows of one ranking share their context."""
        known = self._rankings.setdefault(name, [])
        for ranking in known:
            if ranking.context == context:
                return ranking
        known.append(_Ranking(context))
        return known[-1]

    def _ranking_of(self, name: str, context: _Context, entity_id: str) -> _Ranking:
        """The ranking that an engagement belongs to: one that showed the entity before one that did not, one of the
        same user before another. Its context may say less than the ranking's.
        """
        known = self._rankings.get(name)
        if not known:
            return self._ranking(name, context)
        return max(known, key=lambda one: (_was_shown(one, entity_id), one.context[1] == context[1]))

    def _free(self, name: str, number: int) -> str:
        """A name for the ranking that shares `name` with rankings of other contexts."""
        made = f"{name}#{number + 1}"
        while made in self._rankings:
            made += "#"
        return made


def _was_shown(ranking: _Ranking, entity_id: str) -> bool:
    return entity_id in ranking.entries and ranking.entries[entity_id].position is not None


def _rows(name: str, ranking: _Ranking) -> Iterator[dict[str, Any]]:
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
        }


def _name(stored: _Stored, payload: bytes) -> str:
    """The ranking's id; without one, made of the event itself: the same event, sent twice, is one."""
    return stored.ranking_id or f"event-{blake2b(payload, digest_size=12).hexdigest()}"


def _context(stored: _Stored, payload: bytes) -> _Context:
    extras: dict[str, Any] = {}
    if b'"context.' in payload:
        whole = msgspec.json.decode(payload, type=dict[str, Any])
        extras = {key: one for key, one in whole.items() if key.startswith(EXTRA) and isinstance(one, (str, float))}
    return (
        stored.task, stored.user_id or None, stored.query, stored.country or None, stored.source_entity_id or None,
        tuple(sorted(extras.items())),
    )  # fmt: skip


def _grade(label: float) -> float:
    """Earlier versions took any number; a dataset has none below 0."""
    return label if label > 0 and math.isfinite(label) else 0.0
