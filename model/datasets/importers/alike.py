"""More-like-this pairs of any catalogue: entities that share rare words of names and texts, or rare values.

Every pair is a positive. Pairs of films, which know series and directors, are in `content_pairs.py`.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from model.catalogue.fields import text_values
from model.datasets.dataset import CATEGORIES, TEXT
from model.datasets.importers.content_pairs import CONTENT_LIMIT, TARGETS_PER_SOURCE
from model.events.parts import fraction
from model.text.normalise import words

Entity = Mapping[str, object]
Columns = Mapping[str, str]
LEAST_LIKENESS = 0.1  # of a pair that is not the best of its source
TEXT_WORDS = 24  # of a text, its first words
VALUE_WORDS = 4  # a text of at most so many words is a value, too, such as a brand
COMMON = 30  # a word of more entities proposes none; of such a value, only neighbours in the catalogue are compared
NEIGHBOURS = 8
SHORTLIST = 20  # entities whose likeness is computed in full, by what they share of rare terms


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

    def nearest(self, source: int, size: int) -> list[int]:
        """The most alike entity and others of `LEAST_LIKENESS` or more: at most `size`, the most alike first."""
        dots: dict[int, float] = defaultdict(float)
        for term in sorted(self._terms[source]):
            for other in self._near(term, source):
                dots[other] += self._squares[term]
        dots.pop(source, None)
        shortlist = sorted(dots, key=lambda other: (-dots[other] / self._norms[other], other))[:SHORTLIST]
        scores = sorted((-self.likeness(source, other), other) for other in shortlist)
        return [other for place, (score, other) in enumerate(scores[:size]) if not place or -score >= LEAST_LIKENESS]

    def _near(self, term: str, source: int) -> list[int]:
        group = self._holders[term]
        if len(group) <= COMMON:
            return group
        if "=" not in term:
            return []
        place = bisect_left(group, source)
        return group[max(0, place - NEIGHBOURS // 2) : place + 1 + NEIGHBOURS // 2]


def alike_pairs(
    entities: Sequence[Entity],
    columns: Columns,
    limit: int = CONTENT_LIMIT,
    targets: int = TARGETS_PER_SOURCE,
) -> list[tuple[str, str]]:
    """(source, target) pairs, at most `targets` of a source, in order of sources, the most alike first.

    Sources are chosen by hash if all of them would give more than `limit` pairs.
    """
    return list(_pairs(entities, TermIndex([terms_of(entity, columns) for entity in entities]), limit, targets))


def _pairs(entities: Sequence[Entity], index: TermIndex, limit: int, targets: int) -> Iterator[tuple[str, str]]:
    ids = [str(entity["entity_id"]) for entity in entities]
    chosen = sorted(range(len(ids)), key=lambda row: (fraction("alike", ids[row]), ids[row]))[: limit // targets]
    for source in sorted(chosen):
        for target in index.nearest(source, targets):
            yield ids[source], ids[target]
