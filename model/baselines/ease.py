"""EASE: a linear model of items on items with a closed form (Steck, WWW 2019). Knows no text and no time.

`recency` weights the history at scoring time only, the newest most; the fit counts every like once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.baselines.popularity import Ints, Scores, distinct_likes

Floats = NDArray[np.floating]


class EASE:
    """Item weights B = I − P / diag(P), with P = (XᵀX + λI)⁻¹; kept implicit, which is cheaper with few users."""

    def __init__(self, ridge: float = 300.0, recency: tuple[float, float] | None = None) -> None:
        """`recency` (decay, floor): an event followed by `age` others has weight floor + decay^age."""
        if ridge <= 0:
            raise ValueError(f"expected ridge > 0, got {ridge}")
        self._ridge = ridge
        self._recency = recency
        self._likes: Floats = np.zeros((0, 0))  # X [n_users, n_items]
        self._inner: Floats = np.zeros((0, 0))  # (λI + XXᵀ)⁻¹ [n_users, n_users]
        self._diagonal: Floats = np.zeros(0)  # of P [n_items]

    def fit(self, users: Ints, items: Ints, n_users: int, n_items: int) -> EASE:
        """Fit on the likes `users` [M], `items` [M]. Memory n_users · n_items, time n_users² · n_items."""
        users, items = distinct_likes(users, items, n_users, n_items)
        likes = np.zeros((n_users, n_items))
        likes[users, items] = 1.0
        self._likes = likes
        self._inner = np.linalg.inv(self._ridge * np.eye(n_users) + likes @ likes.T)
        self._diagonal = (1.0 - ((self._inner @ likes) * likes).sum(0)) / self._ridge
        return self

    def scores(self, history_items: Ints) -> Scores:
        """Scores for the history [H], oldest first: [n_items]. A history item does not add to its own score."""
        weights = self._weights(np.asarray(history_items, np.int64))
        inverse = (weights - self._likes.T @ (self._inner @ (self._likes @ weights))) / self._ridge  # P · weights
        return np.asarray(weights - inverse / self._diagonal, np.float32)

    def _weights(self, history: Ints) -> Floats:
        n_items = self._likes.shape[1]
        history = history[(history >= 0) & (history < n_items)]
        newest, places = np.unique(history[::-1], return_index=True)
        ages = np.argsort(np.argsort(places))
        weights = np.zeros(n_items)
        decay, floor = self._recency or (0.0, 1.0)
        weights[newest] = floor + (decay**ages if self._recency else 0.0)
        return weights
