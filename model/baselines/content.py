"""More-like-this by text only: cosine of TF-IDF over all texts of an entity, by scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from model.baselines.popularity import Ints, Scores


class TfIdfContent:
    """TF-IDF with sublinear term counts, without English stop words and words of a single document."""

    def __init__(self) -> None:
        self._matrix: Any = None  # sparse [N, words], rows of length 1

    def fit(self, texts: Sequence[str]) -> TfIdfContent:
        """Fit on the whole text of each entity."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        min_df = 2 if len(texts) > 100 else 1
        self._matrix = TfidfVectorizer(sublinear_tf=True, stop_words="english", min_df=min_df).fit_transform(texts)
        return self

    def scores(self, items: Ints) -> Scores:
        """Mean cosine of each entity with the given ones [H]: [N]; zeros if none is given."""
        chosen = np.asarray(items, np.int64)
        if not len(chosen):
            return np.zeros(self._matrix.shape[0], np.float32)
        cosines = self._matrix @ self._matrix[chosen].T
        return np.asarray(cosines.mean(axis=1), np.float32).reshape(-1)
