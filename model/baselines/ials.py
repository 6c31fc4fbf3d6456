"""iALS: implicit matrix factorisation by alternating least squares (Hu, Koren, Volinsky, ICDM 2008), by `implicit`."""

from __future__ import annotations

from typing import Any

import numpy as np

from model.baselines.popularity import Ints, Scores, distinct_likes


class IALS:
    """Folds each history in as a new user, so that users need not be known."""

    def __init__(
        self, factors: int = 64, regularisation: float = 0.05, alpha: float = 10.0, iterations: int = 15, seed: int = 0
    ) -> None:
        if factors < 1 or iterations < 1:
            raise ValueError(f"expected factors and iterations ≥ 1, got {factors} and {iterations}")
        self._settings = {"factors": factors, "regularization": regularisation, "iterations": iterations}
        self._alpha, self._seed = alpha, seed
        self._n_items = 0
        self._model: Any = None

    def fit(self, users: Ints, items: Ints, n_users: int, n_items: int) -> IALS:
        """Fit factors on the likes `users` [M], `items` [M]; each like has confidence 1 + alpha."""
        from implicit.als import AlternatingLeastSquares
        from threadpoolctl import threadpool_limits

        users, items = distinct_likes(users, items, n_users, n_items)
        self._n_items = n_items
        with threadpool_limits(1, "blas"):
            self._model = AlternatingLeastSquares(
                **self._settings, alpha=self._alpha, random_state=self._seed, use_gpu=False, num_threads=1
            )
            self._model.fit(self._matrix(users, items, n_users), show_progress=False)
        return self

    def scores(self, history_items: Ints) -> Scores:
        """Item factors times the user factors of the history [H]: [n_items]; zeros for an empty history."""
        history = np.unique(np.asarray(history_items, np.int64))
        history = history[(history >= 0) & (history < self._n_items)]
        if not len(history):
            return np.zeros(self._n_items, np.float32)
        row = self._matrix(np.zeros_like(history), history, 1)
        user = np.asarray(self._model.recalculate_user(0, row)).reshape(-1)
        return np.asarray(self._model.item_factors @ user, np.float32)

    def _matrix(self, users: Ints, items: Ints, n_users: int) -> Any:
        from scipy.sparse import csr_matrix

        ones = np.ones(len(users), np.float32)
        return csr_matrix((ones, (users, items)), shape=(n_users, self._n_items))
