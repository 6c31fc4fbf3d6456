"""More-like-this pairs from likes close in time, for sources that have no labels for that task.

A co-like pair is kept only if the training likes of *all* users associate the two; validation and test likes are
never counted. Every pair is a positive. Pure functions; pairs from content are in `alike.py`.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from model.context.context import HOMEPAGE, MORE_LIKE_THIS
from model.events.derived import PREFIX
from model.events.parts import TRAIN, fraction
from model.events.table import conform

HOUR_MS = 3_600_000
NEAR_IN_ORDER = 6
SHRINKAGE = 10.0  # number of shared fans at which a cosine is halved
LEAST_SHARED_FANS = 4
LEAST_ASSOCIATION = 0.15
LEAST_LIFT = 3.0
PAIR_REPEATS = 4  # users per pair, so that the few best-known pairs do not dominate the task
CO_LIKE_LIMIT = 8_000  # pairs per part


@dataclass(frozen=True, slots=True)
class Like:
    """One positive engagement. `timestamp` in ms."""

    user_id: str
    entity_id: str
    timestamp: int
    part: str = TRAIN


@dataclass(frozen=True, slots=True)
class CoLike:
    """Two entities that one user liked close in time; `timestamp` is that of the target."""

    user_id: str
    source: str
    target: str
    timestamp: int
    part: str


def likes_of(events: pl.DataFrame) -> list[Like]:
    """The positive homepage rows that have user, time and part, in their order."""
    rows = events.filter((pl.col("task") == HOMEPAGE) & (pl.col("label") > 0))
    rows = rows.drop_nulls(["user_id", "timestamp", "part"])
    return [Like(*row) for row in rows.select("user_id", "entity_id", "timestamp", "part").iter_rows()]


class Association:
    """How strongly training likes associate two entities."""

    def __init__(self, likes: Iterable[Like]) -> None:
        self._fans: dict[str, set[str]] = defaultdict(set)
        for like in likes:
            if like.part == TRAIN:
                self._fans[like.entity_id].add(like.user_id)
        self._users = len(set().union(*self._fans.values())) if self._fans else 0

    def strength(self, first: str, second: str) -> float:
        """Cosine of the two sets of fans, shrunk by n / (n + SHRINKAGE) for n shared fans; 0 … 1."""
        shared, sizes = self._overlap(first, second)
        return shared / math.sqrt(sizes) * shared / (shared + SHRINKAGE) if shared else 0.0

    def lift(self, first: str, second: str) -> float:
        """Shared fans over the number expected under independence: 1 = chance."""
        shared, sizes = self._overlap(first, second)
        return shared * self._users / sizes if shared else 0.0

    def holds(self, first: str, second: str) -> bool:
        """Whether the pair is a real association: enough shared fans, lift and strength."""
        shared, sizes = self._overlap(first, second)
        if shared < LEAST_SHARED_FANS or shared * self._users < LEAST_LIFT * sizes:
            return False
        return self.strength(first, second) >= LEAST_ASSOCIATION

    def _overlap(self, first: str, second: str) -> tuple[int, int]:
        first_fans, second_fans = self._fans.get(first, set()), self._fans.get(second, set())
        return len(first_fans & second_fans), len(first_fans) * len(second_fans)


def near_pairs(likes: Iterable[Like]) -> Iterator[CoLike]:
    """Pairs of one user and part, within an hour and `NEAR_IN_ORDER` likes; the earlier is the source."""
    streams: dict[tuple[str, str], list[Like]] = defaultdict(list)
    for like in likes:
        streams[like.user_id, like.part].append(like)
    for (user_id, part), stream in streams.items():
        stream.sort(key=lambda like: like.timestamp)
        for index, source in enumerate(stream):
            for target in stream[index + 1 : index + 1 + NEAR_IN_ORDER]:
                near = target.timestamp - source.timestamp <= HOUR_MS
                if near and source.entity_id != target.entity_id:
                    yield CoLike(user_id, source.entity_id, target.entity_id, target.timestamp, part)


def co_like_pairs(
    likes: Sequence[Like], agree: Callable[[str, str], bool] = lambda *_: True, limit: int = CO_LIKE_LIMIT
) -> list[CoLike]:
    """The near pairs that are real associations and `agree` otherwise; at most `limit` per part, chosen by hash."""
    association = Association(likes)
    distinct = {
        (pair.user_id, pair.source, pair.target): pair
        for pair in near_pairs(likes)
        if association.holds(pair.source, pair.target) and agree(pair.source, pair.target)
    }
    kept, repeats, sizes = [], Counter[tuple[str, str, str]](), Counter[str]()
    for pair in sorted(distinct.values(), key=_by_hash):
        key = (pair.part, min(pair.source, pair.target), max(pair.source, pair.target))
        repeats[key] += 1
        if repeats[key] <= PAIR_REPEATS and sizes[pair.part] < limit:
            sizes[pair.part] += 1
            kept.append(pair)
    return sorted(kept, key=lambda pair: (pair.user_id, pair.timestamp, pair.source, pair.target))


def _by_hash(pair: CoLike) -> tuple[float, str]:
    text = f"{pair.user_id} {pair.source} {pair.target}"
    return fraction("co-like", text), text


def co_like_events(pairs: Sequence[CoLike]) -> pl.DataFrame:
    """One ranking per pair, with user, time and part."""
    return conform(
        pl.DataFrame(
            {
                "ranking_id": [f"{PREFIX}liked-{p.user_id}-{p.source}-{p.target}" for p in pairs],
                "timestamp": [p.timestamp for p in pairs],
                "task": [MORE_LIKE_THIS] * len(pairs),
                "user_id": [p.user_id for p in pairs],
                "source_entity_id": [p.source for p in pairs],
                "entity_id": [p.target for p in pairs],
                "label": [1.0] * len(pairs),
                "part": [p.part for p in pairs],
            }
        )
    )
