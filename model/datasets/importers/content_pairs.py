"""More-like-this pairs from content (franchise, director, rare tags, genres), for sources without labels for that task.

Every pair is a positive, in both directions. Pure functions; pairs from likes are in `co_likes.py`.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Protocol

import polars as pl

from model.context.context import MORE_LIKE_THIS
from model.datasets.importers.titles import article_free, franchise_of
from model.events.derived import PREFIX
from model.events.table import PARTS, conform

CONTENT_LIMIT = 15_000
TARGETS_PER_SOURCE = 4
RAREST_TAG, COMMONEST_TAG = 2, 30  # number of entities with a rare tag
FRANCHISE_LIMIT = 30  # a longer series is a common word, not a franchise
FRANCHISE_WEIGHT, DIRECTOR_WEIGHT, GENRE_WEIGHT = 1.0, 0.4, 0.3
LEAST_CONTENT = 0.6


@dataclass(frozen=True, slots=True)
class Content:
    """The fields that content pairs are made from. Empty if unknown."""

    entity_id: str
    display_name: str
    directors: tuple[str, ...] = ()
    genres: frozenset[str] = field(default_factory=frozenset)
    tags: frozenset[str] = field(default_factory=frozenset)


class Named(Protocol):
    """Maps a content to the groups that it is a member of."""

    def __call__(self, content: Content, /) -> Iterable[str]: ...


def _franchises(content: Content) -> Iterable[str]:
    key = franchise_of(content.display_name)
    return () if key is None else (key,)


def _directors(content: Content) -> Iterable[str]:
    return content.directors


def groups_of(contents: Iterable[Content], names: Named, most: int) -> dict[str, list[Content]]:
    """Groups of 2 to `most` contents that share a name."""
    groups: dict[str, list[Content]] = defaultdict(list)
    for content in contents:
        for name in names(content):
            groups[name].append(content)
    return {name: group for name, group in groups.items() if 2 <= len(group) <= most}


def tag_weights(contents: Sequence[Content]) -> dict[str, float]:
    """Inverse document frequency ln(N / n) of each tag."""
    counts = Counter(tag for content in contents for tag in content.tags)
    return {tag: math.log(len(contents) / count) for tag, count in counts.items()}


def tag_cosines(contents: Sequence[Content]) -> dict[tuple[str, str], float]:
    """Pair (in order of the contents) → cosine by idf over the rare tags; at least two must be shared."""
    weights = tag_weights(contents)
    norms = {c.entity_id: math.sqrt(sum(weights[tag] ** 2 for tag in c.tags)) for c in contents}
    dots: dict[tuple[str, str], float] = defaultdict(float)
    shared = Counter[tuple[str, str]]()
    rare = groups_of(contents, lambda content: sorted(content.tags), COMMONEST_TAG)
    for tag, group in rare.items():
        for one, other in combinations(group, 2):
            dots[one.entity_id, other.entity_id] += weights[tag] ** 2
            shared[one.entity_id, other.entity_id] += 1
    return {pair: dots[pair] / (norms[pair[0]] * norms[pair[1]]) for pair, n in shared.items() if n >= 2}


def jaccard(first: frozenset[str], second: frozenset[str]) -> float:
    """Size of the intersection over size of the union; 0 if both are empty."""
    union = len(first | second)
    return len(first & second) / union if union else 0.0


def content_scores(contents: Sequence[Content]) -> dict[tuple[str, str], float]:
    """Pair → score: franchise, director, rare tags, and genres for pairs that have any of these.

    A pair whose genres are known but disjoint is left out: a shared name is then a coincidence.
    """
    by_id = {content.entity_id: content for content in contents}
    scores: dict[tuple[str, str], float] = defaultdict(float, tag_cosines(contents))
    for group in groups_of(contents, _franchises, FRANCHISE_LIMIT).values():
        for one, other in combinations(group, 2):
            scores[one.entity_id, other.entity_id] += FRANCHISE_WEIGHT * _franchise_confidence(one, other)
    for group in groups_of(contents, _directors, len(contents)).values():
        for one, other in combinations(group, 2):
            scores[one.entity_id, other.entity_id] += DIRECTOR_WEIGHT
    return dict(_with_genres(scores, by_id))


def _franchise_confidence(one: Content, other: Content) -> float:
    """1 if the names differ (a sequel); for equal names (a remake or chance) the overlap of the genres."""
    same_name = article_free(one.display_name) == article_free(other.display_name)
    return jaccard(one.genres, other.genres) if same_name else 1.0


def _with_genres(
    scores: Mapping[tuple[str, str], float], by_id: Mapping[str, Content]
) -> Iterator[tuple[tuple[str, str], float]]:
    for (first, second), score in scores.items():
        first_genres, second_genres = by_id[first].genres, by_id[second].genres
        if first != second and not (first_genres and second_genres and not first_genres & second_genres):
            yield (first, second), score + GENRE_WEIGHT * jaccard(first_genres, second_genres)


def content_pairs(
    contents: Sequence[Content], limit: int = CONTENT_LIMIT, targets: int = TARGETS_PER_SOURCE
) -> list[tuple[str, str]]:
    """(source, target) pairs: the best `targets` of each source, of these the best `limit`, in both directions.

    Ordered by source, then by descending score; ties by id.
    """
    best: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for (first, second), score in content_scores(contents).items():
        if score >= LEAST_CONTENT:
            best[first].append((-score, second))
            best[second].append((-score, first))
    chosen = [(s, source, target) for source in best for s, target in sorted(best[source])[:targets]]
    return [(source, target) for _, source, target in sorted(_strongest(chosen, limit), key=_by_source)]


def _strongest(pairs: list[tuple[float, str, str]], limit: int) -> list[tuple[float, str, str]]:
    return sorted(pairs)[:limit]


def _by_source(pair: tuple[float, str, str]) -> tuple[str, float, str]:
    return pair[1], pair[0], pair[2]


def content_events(pairs: Sequence[tuple[str, str]]) -> pl.DataFrame:
    """Targets of one source share a ranking; no user, no time, no part yet."""
    return conform(
        pl.DataFrame(
            {
                "ranking_id": [f"{PREFIX}content-{source}" for source, _ in pairs],
                "task": [MORE_LIKE_THIS] * len(pairs),
                "source_entity_id": [source for source, _ in pairs],
                "entity_id": [target for _, target in pairs],
                "label": [1.0] * len(pairs),
            },
            schema_overrides={"label": pl.Float64},
        )
    )


def without_reversals(events: pl.DataFrame) -> pl.DataFrame:
    """Content events with parts, less each pair whose reverse is in a later part (train < validation < test).

    Content pairs are symmetric: a held-out pair whose reverse is in training would not be a test.
    """
    place = pl.col("part").replace_strict(list(PARTS), [0, 1, 2], return_dtype=pl.Int8)
    reverse = events.select(
        pl.col("entity_id").alias("source_entity_id"),
        pl.col("source_entity_id").alias("entity_id"),
        place.alias("reverse_place"),
    )
    joined = events.join(reverse, on=["source_entity_id", "entity_id"], how="left", maintain_order="left")
    kept = pl.col("reverse_place").is_null() | (pl.col("reverse_place") <= place)
    return joined.filter(kept).drop("reverse_place")
