"""More-like-this pairs of any catalogue: entities whose texts are alike as a whole and that share rare terms.

Where likes are known, pairs that the same people like come first, so that content and taste agree. Every pair is a
positive. Pairs from likes alone are in `co_likes.py`.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from model.catalogue.encoding import content_vectors
from model.catalogue.fields import text_values
from model.context.context import MORE_LIKE_THIS
from model.datasets.dataset import CATEGORIES, TEXT
from model.datasets.importers.co_likes import Association
from model.events.derived import PREFIX
from model.events.parts import fraction
from model.events.table import PARTS, conform
from model.text.normalise import words

Entity = Mapping[str, object]
Columns = Mapping[str, str]
CONTENT_LIMIT = 15_000  # pairs
TARGETS_PER_SOURCE = 4
LEAST_SHARE = 0.5  # of the likeness of the best pair of a source, for its others
TASTE = 0.3  # weight of what the same people like: it decides among what is about as alike
AGREEING = 0.05  # share of the catalogue
TEXT_WORDS = 24  # of a text, its first words
VALUE_WORDS = 4  # a text of at most so many words is a value, too, such as a brand
COMMON = 30  # a word of more entities proposes none; of such a value, only neighbours in the catalogue are compared
NEIGHBOURS = 8
SHORTLIST = 20  # entities whose likeness is computed in full, by their texts, and as many by rare terms


def terms_of(entity: Entity, columns: Columns) -> frozenset[str]:
    """What an entity can share: words of its name and texts, and `column=value` of categories and short texts.

    >>> sorted(terms_of({"display_name": "Rain jacket", "kind": ["Outdoor"]}, {"kind": "categories"}))
    ['jacket', 'kind=outdoor', 'rain']
    """
    terms = set(words(str(entity["display_name"])))
    for column, kind in columns.items():
        if kind == CATEGORIES:
            terms.update(f"{column}={value.casefold()}" for value in text_values(entity.get(column)))
        if kind == TEXT and (spelled := words(str(entity.get(column) or ""))[:TEXT_WORDS]):
            terms.update([f"{column}={' '.join(spelled)}"] if len(spelled) <= VALUE_WORDS else spelled)
    return frozenset(terms)


class TermIndex:
    """How alike N entities are by the idf of the terms that they share. Entities are indices here."""

    def __init__(self, terms: Sequence[frozenset[str]]) -> None:
        self._terms = terms
        self._holders: dict[str, list[int]] = defaultdict(list)
        for index, own in enumerate(terms):
            for term in own:
                self._holders[term].append(index)
        squares = {term: math.log((len(terms) + 1) / len(group)) ** 2 for term, group in self._holders.items()}
        self._squares = squares
        self._norms = [math.sqrt(math.fsum(squares[term] for term in own)) for own in terms]

    def likeness(self, first: int, second: int) -> float:
        """Cosine by idf, times n / (n + 1) for n shared terms: one alone may be a coincidence. 0 … 1."""
        shared = self._terms[first] & self._terms[second]
        dot = math.fsum(self._squares[term] for term in shared)
        return dot / (self._norms[first] * self._norms[second]) * len(shared) / (len(shared) + 1) if shared else 0.0

    def nearest(self, source: int) -> list[int]:
        """At most `SHORTLIST` others that share rare terms, those that share most first."""
        dots: dict[int, float] = defaultdict(float)
        for term in sorted(self._terms[source]):
            for other in self._near(term, source):
                dots[other] += self._squares[term]
        dots.pop(source, None)
        return sorted(dots, key=lambda other: (-dots[other] / self._norms[other], other))[:SHORTLIST]

    def _near(self, term: str, source: int) -> list[int]:
        group = self._holders[term]
        if len(group) <= COMMON:
            return group
        if "=" not in term:
            return []
        place = bisect_left(group, source)
        return group[max(0, place - NEIGHBOURS // 2) : place + 1 + NEIGHBOURS // 2]


class Contents:
    """How alike the N entities of a catalogue are by all their texts, and by rare terms that they share."""

    def __init__(self, entities: Sequence[Entity], columns: Columns) -> None:
        self.ids = [str(entity["entity_id"]) for entity in entities]
        self.rows = {entity_id: row for row, entity_id in enumerate(self.ids)}
        self._index = TermIndex([terms_of(entity, columns) for entity in entities])
        self._vectors = content_vectors(entities, columns) if entities else np.zeros((0, 1), np.float32)
        self._describes = any(kind in (TEXT, CATEGORIES) for kind in columns.values())
        self._bounds: dict[int, float] = {}  # source → the cosine from which the content of others agrees

    def nearest(self, source: int) -> list[tuple[float, int]]:
        """(likeness, row) of the entities most alike, in any order. Likeness is 0 … 2."""
        cosines = self._cosines(source)
        cosines[source] = -1.0
        most = np.argpartition(-cosines, SHORTLIST)[:SHORTLIST] if len(cosines) > SHORTLIST else np.arange(len(cosines))
        rows = {row for row in most.tolist() if cosines[row] > 0}.union(self._index.nearest(source))
        return [(max(float(cosines[row]), 0.0) + self._index.likeness(source, row), row) for row in rows]

    def agree(self, source: str, target: str) -> bool:
        """Whether the target is among the `AGREEING` share of the catalogue whose texts are most like the source's.

        True where only names are known: they say nothing against a pair.
        """
        if not self._describes or source not in self.rows or target not in self.rows:
            return not self._describes
        row = self.rows[source]
        cosines = self._cosines(row)
        if row not in self._bounds:
            self._bounds[row] = float(np.quantile(cosines, 1 - AGREEING))
        return bool(cosines[self.rows[target]] >= self._bounds[row])

    def _cosines(self, row: int) -> NDArray[np.float32]:
        return np.asarray(self._vectors @ self._vectors[row])


def alike_pairs(
    contents: Contents,
    association: Association | None = None,
    limit: int = CONTENT_LIMIT,
    targets: int = TARGETS_PER_SOURCE,
) -> list[tuple[str, str]]:
    """(source, target) pairs, at most `targets` of a source, in order of sources, the most alike first.

    What the same people like counts on top of what is alike. Sources are chosen by hash if all of them would give more
    than `limit` pairs.
    """
    return list(_pairs(contents, association or Association(()), limit, targets))


def _pairs(contents: Contents, association: Association, limit: int, targets: int) -> Iterator[tuple[str, str]]:
    ids = contents.ids
    chosen = sorted(range(len(ids)), key=lambda row: (fraction("alike", ids[row]), ids[row]))[: limit // targets]
    for source in sorted(chosen):
        scores = [
            (likeness + TASTE * association.strength(ids[source], ids[row]), ids[row])
            for likeness, row in contents.nearest(source)
        ]
        ordered = sorted(scores, key=lambda pair: (-pair[0], pair[1]))[:targets]
        yield from ((ids[source], target) for score, target in ordered if score >= LEAST_SHARE * ordered[0][0])


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
