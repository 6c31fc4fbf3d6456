"""More like this by text alone: cosine of TF-IDF over everything an entity says of itself, by scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from model.baselines.popularity import Ints, Scores


class TfIdfContent:
    """Sublinear term counts, English stop words out, words of one document out."""

    def __init__(self) -> None:
        self._matrix: Any = None  # sparse [N, words], rows of length 1

    def fit(self, texts: Sequence[str]) -> TfIdfContent:
        """From the whole text of each entity."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        least = 2 if len(texts) > 100 else 1
        self._matrix = TfidfVectorizer(sublinear_tf=True, stop_words="english", min_df=least).fit_transform(texts)
        return self

    def scores(self, items: Ints) -> Scores:
        """Mean cosine of each entity with the named ones [H]: [N]; zeros where none is named."""
        chosen = np.asarray(items, np.int64)
        if not len(chosen):
            return np.zeros(self._matrix.shape[0], np.float32)
        cosines = self._matrix @ self._matrix[chosen].T
        return np.asarray(cosines.mean(axis=1), np.float32).reshape(-1)
