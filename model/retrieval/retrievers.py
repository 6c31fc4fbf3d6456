"""Retrievers, which propose entities of the whole catalogue for a context, and their union. Compute no ranking scores.

To add a retriever, write a class with `retrieve` here and add it by name to `retrievers_of`. The shares of the
places are learned by `model/artefact/proposals.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model.catalogue.record_table import RecordTable
from model.context.context import TITLE_RULE
from model.events.transitions import NOBODY
from model.network.collate import EncodedContext
from model.network.scorer import Scorer, retrieval_matrix
from model.retrieval.approximate import ApproximateIndex
from model.retrieval.exact import DenseIndex, best_rows
from model.retrieval.lexical import LexicalIndex

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Shares = Mapping[str, float]  # retriever → its share of the proposals; those that find too little leave theirs
NOTHING: Ints = np.zeros(0, np.int64)
MOST_TITLED = 3_000  # entities that share words with a title and are ordered, which takes 3 µs each
TIE = np.float32(1e-4)  # of equally good matches, the most popular
FITS = 0.7  # share of the best match from which an entity fits a title
POPULAR = 10_000  # popular entities that are kept: a user has not seen more than this


@dataclass(frozen=True, slots=True)
class RetrievalRequest:
    """One context, the number of catalogue rows to propose, and rows to leave out."""

    context: EncodedContext
    limit: int
    excluded: AbstractSet[int]

    @property
    def titled(self) -> bool:
        """Whether the query is the title of a row."""
        return self.context.filled.rule_of("query") == TITLE_RULE

    def allows(self, rows: Ints) -> NDArray[np.bool_]:
        """Which rows may be proposed. [C]"""
        return ~np.isin(rows, np.fromiter(self.excluded, np.int64, len(self.excluded)))


class Retriever(Protocol):
    """Proposes rows for a context."""

    def retrieve(self, request: RetrievalRequest) -> Ints:
        """At most `limit` distinct rows, best first."""
        ...


class NearestRetriever:
    """The nearest entities in the embedding space to the `query` of a context: all of its parts, or one alone."""

    def __init__(self, query: Callable[[EncodedContext], Floats], index: DenseIndex | ApproximateIndex) -> None:
        self._query = query
        self._index = index

    def retrieve(self, request: RetrievalRequest) -> Ints:
        """At most `limit` rows by dot product, best first; none where the context has nothing to ask with."""
        query = self._query(request.context)
        return self._index.search(query, request.limit, request.excluded) if query.any() else NOTHING


class NextRetriever:
    """What people engaged with soon after the source, or without one after the newest events of the history."""

    def retrieve(self, request: RetrievalRequest) -> Ints:
        """At most `limit` rows, most frequent first; none without a source and a history."""
        rows, weights = self._successors(request)
        kept = (rows != NOBODY) & request.allows(rows)
        chosen: Ints = rows[kept][best_rows(weights[kept], request.limit)]
        return chosen

    def _successors(self, request: RetrievalRequest) -> tuple[Ints, Floats]:
        source, profile = request.context.source, request.context.profile
        if source is not None and request.context.filled.is_given("source_entity_id"):
            return source.next_rows[0].astype(np.int64), source.next_weights[0]
        return profile.next_rows.astype(np.int64), profile.next_weights


class LexicalRetriever:
    """Entities that share words, a prefix or trigrams with a query that somebody typed.

    A name that was imputed as query would only find its namesakes.
    """

    def __init__(self, index: LexicalIndex) -> None:
        self._index = index

    def retrieve(self, request: RetrievalRequest) -> Ints:
        """At most `limit` rows by matching words, best first; none for a query that is imputed or a title."""
        if request.titled or not request.context.query.given:
            return NOTHING
        return self._index.search(request.context.query, request.limit, request.excluded)


class TitleRetriever:
    """Entities that share words with the title of a row, in the order of the embedding space."""

    def __init__(self, index: LexicalIndex, scorer: Scorer, records: RecordTable) -> None:
        self._index = index
        self._scorer = scorer
        self._records = records

    def retrieve(self, request: RetrievalRequest) -> Ints:
        """At most `limit` rows; none for a context without a title."""
        if not request.titled:
            return NOTHING
        rows, matched = self._index.titled(request.context.query)
        kept = request.allows(rows)
        rows, matched = rows[kept], matched[kept]
        best = best_rows(matched + TIE * self._records.popularity[rows], MOST_TITLED)
        rows, fits = rows[best], matched[best] >= FITS * matched.max(initial=0)
        scores = retrieval_matrix(self._records, rows) @ self._scorer.retrieval_query(request.context)
        return rows[np.lexsort((-scores, ~fits))][: request.limit]


class ContentRetriever:
    """Entities that share rare words of their name, categories or year with the source: its series, its makers."""

    def __init__(self, index: LexicalIndex) -> None:
        self._index = index

    def retrieve(self, request: RetrievalRequest) -> Ints:
        """At most `limit` rows by what they share, best first; none without a source."""
        source = request.context.source
        if source is None:
            return NOTHING
        rows, shared = self._index.like(source.tokens.row(0))
        kept = request.allows(rows)
        return rows[kept][best_rows(shared[kept], request.limit)]


class PopularRetriever:
    """What is popular."""

    def __init__(self, popularity: Floats) -> None:
        self._rows = np.argsort(-popularity, kind="stable")[:POPULAR]

    def retrieve(self, request: RetrievalRequest) -> Ints:
        """At most `limit` rows, most popular first; none for a query that somebody typed."""
        if request.context.query.given and not request.titled:
            return NOTHING
        rows = self._rows[: request.limit + len(request.excluded)]
        return rows[request.allows(rows)][: request.limit]


def retrievers_of(
    scorer: Scorer, index: DenseIndex | ApproximateIndex, lexical: LexicalIndex, records: RecordTable
) -> dict[str, Retriever]:
    """All retrievers of one catalogue by name."""
    return {
        "words": LexicalRetriever(lexical),
        "title": TitleRetriever(lexical, scorer, records),
        "dense": NearestRetriever(scorer.retrieval_query, index),
        "engagement": NearestRetriever(scorer.engagement_query, index),
        "text": NearestRetriever(scorer.text_query, index),
        "next": NextRetriever(),
        "content": ContentRetriever(lexical),
        "popular": PopularRetriever(records.popularity),
    }


class UnionRetriever:
    """Merges the proposals of several retrievers by their shares of the places. `shares` has an entry for each task.

    Asking for fewer gives the first of what asking for more gives.
    """

    def __init__(self, retrievers: Mapping[str, Retriever], shares: Mapping[str, Shares], tasks: Sequence[str]) -> None:
        self._retrievers = retrievers
        self._shares = shares
        self._tasks = tasks

    def retrieve(self, request: RetrievalRequest) -> Ints:
        """At most `limit` distinct rows. Retrievers without a share fill what the others leave free."""
        shares = self._shares.get(self._tasks[request.context.task], {})
        asked = [name for name in self._retrievers if shares.get(name, EVEN) > 0]
        merged = merge(self._ask(asked, request), shares)
        if len(merged) < request.limit:
            others = self._ask(self._retrievers.keys() - set(asked), request)
            merged = distinct(np.concatenate([merged, *(others[name] for name in sorted(others))]))
        return merged[: request.limit]

    def lists(self, request: RetrievalRequest) -> dict[str, Ints]:
        """The proposals of each retriever."""
        return self._ask(self._retrievers, request)

    def _ask(self, names: Iterable[str], request: RetrievalRequest) -> dict[str, Ints]:
        return {name: self._retrievers[name].retrieve(request) for name in names}


EVEN = 1.0  # share of a retriever that none was learned for


def merge(lists: Mapping[str, Ints], shares: Shares) -> Ints:
    """Distinct rows of several lists, so that among the first n each list has about its share of n. Any length.

    >>> merge({"a": np.array([1, 2, 3]), "b": np.array([9, 1, 8])}, {"a": 0.5, "b": 0.25}).tolist()
    [1, 2, 9, 3, 8]
    """
    if not lists:
        return NOTHING
    places = np.concatenate([(np.arange(len(rows)) + 1) / shares.get(name, EVEN) for name, rows in lists.items()])
    return distinct(np.concatenate(list(lists.values()))[np.argsort(places, kind="stable")])


def distinct(rows: Ints) -> Ints:
    """The rows in their order, each at its first place only."""
    _, firsts = np.unique(rows, return_index=True)
    result: Ints = rows[np.sort(firsts)]
    return result
