"""Retrievers, which propose entities of the whole catalogue for a context, and their union. Compute no ranking scores.

To add a retriever, write a class with `retrieve` here and add it to the list in `model/artefact/model.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import zip_longest
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model.network.collate import EncodedContext
from model.network.scorer import Scorer
from model.retrieval.approximate import ApproximateIndex
from model.retrieval.exact import DenseIndex
from model.retrieval.lexical import LexicalIndex

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RetrievalRequest:
    """One context, the number of catalogue rows to propose, and rows to leave out."""

    context: EncodedContext
    limit: int
    excluded: AbstractSet[int]


class Retriever(Protocol):
    """Proposes rows for a context."""

    def retrieve(self, request: RetrievalRequest) -> Iterable[int]:
        """At most `limit` distinct rows, best first."""
        ...


class DenseRetriever:
    """The nearest entities in the embedding space."""

    def __init__(self, scorer: Scorer, index: DenseIndex | ApproximateIndex) -> None:
        self._scorer = scorer
        self._index = index

    def retrieve(self, request: RetrievalRequest) -> Ints:
        """At most `limit` rows by dot product, best first."""
        query = self._scorer.retrieval_query(request.context)
        return self._index.search(query, request.limit, request.excluded)


class LexicalRetriever:
    """Entities that share words, a prefix or trigrams with the query."""

    def __init__(self, index: LexicalIndex) -> None:
        self._index = index

    def retrieve(self, request: RetrievalRequest) -> Ints:
        """At most `limit` rows by matching words, best first; none for an empty query."""
        return self._index.search(request.context.query, request.limit, request.excluded)


class UnionRetriever:
    """Interleaves the proposals of several retrievers: the first of each, then the second of each, …"""

    def __init__(self, retrievers: Sequence[Retriever]) -> None:
        self._retrievers = retrievers

    def retrieve(self, request: RetrievalRequest) -> Ints:
        """At most `limit` distinct rows."""
        proposals = [retriever.retrieve(request) for retriever in self._retrievers]
        merged = (int(row) for rows in zip_longest(*proposals) for row in rows if row is not None)
        return np.array(list(dict.fromkeys(merged))[: request.limit], np.int64)
