"""BM25 over the stemmed fields of a catalogue, by `bm25s`. Ranks by words only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

ALL = "all"


class BM25:
    """One index per field, and one of all fields together (Robertson & Zaragoza 2009)."""

    def __init__(self, k1: float = 1.2, b: float = 0.75) -> None:
        if k1 < 0 or not 0 <= b <= 1:
            raise ValueError(f"expected k1 ≥ 0 and b in [0, 1], got {k1} and {b}")
        self._k1, self._b = k1, b
        self._indices: dict[str, Any] = {}
        self._count = 0

    def fit(self, fields: Mapping[str, Sequence[str]]) -> BM25:
        """Index `fields`: name → texts of all N documents."""
        import bm25s

        texts = {**fields, ALL: [" ".join(parts) for parts in zip(*fields.values(), strict=True)]}
        self._count = len(texts[ALL])
        for name, documents in texts.items():
            corpus = _stem(list(documents))
            if any(corpus):
                self._indices[name] = bm25s.BM25(k1=self._k1, b=self._b)
                self._indices[name].index(corpus, show_progress=False)
            else:
                self._indices[name] = None
        return self

    @property
    def names(self) -> list[str]:
        """The columns of `scores`."""
        return list(self._indices)

    def scores(self, query: str) -> NDArray[np.float32]:
        """[N, fields + 1]; zeros if no word is known."""
        words = _stem([query])[0]
        columns = [self._column(index, words) for index in self._indices.values()]
        return np.stack(columns, axis=1).astype(np.float32)

    def _column(self, index: Any, words: list[str]) -> NDArray[np.float32]:
        known = [word for word in words if index is not None and word in index.vocab_dict]
        return np.asarray(index.get_scores(known) if known else np.zeros(self._count), np.float32)


def _stem(texts: list[str]) -> list[list[str]]:
    """English stems of each text. Stop words are kept: some titles consist of them."""
    import Stemmer

    from model.text.normalise import words

    stemmer = Stemmer.Stemmer("english")
    return [stemmer.stemWords(words(text)) for text in texts]
