"""LambdaMART: boosted trees on the features of a slate (Burges 2010), by LightGBM. Does not compute features."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Slates = tuple[Floats, Floats, Ints]  # features [M, F], labels [M], rows of each slate [Q]
PATIENCE = 50  # rounds without a better NDCG@10 until early stopping


class LambdaMART:
    """Trees on (features, labels, slate sizes), with early stopping on a validation part."""

    def __init__(
        self, leaves: int = 31, learning_rate: float = 0.05, rounds: int = 600, min_leaf: int = 50, seed: int = 0
    ) -> None:
        if leaves < 2 or rounds < 1:
            raise ValueError(f"expected leaves ≥ 2 and rounds ≥ 1, got {leaves} and {rounds}")
        self._rounds = rounds
        self._settings = {
            "objective": "lambdarank", "metric": "ndcg", "eval_at": [10], "num_leaves": leaves,
            "learning_rate": learning_rate, "min_data_in_leaf": min_leaf, "seed": seed, "num_threads": 1,
            "deterministic": True, "force_row_wise": True, "verbose": -1, "feature_fraction": 0.7,
            "bagging_fraction": 0.8, "bagging_freq": 1,
        }  # fmt: skip
        self._booster: Any = None

    def fit(self, train: Slates, valid: Slates | None = None) -> LambdaMART:
        """Fit on slates; labels above 0 are relevant."""
        import lightgbm

        train_data = lightgbm.Dataset(train[0], train[1] > 0, group=train[2])
        valid_sets = (
            [] if valid is None else [lightgbm.Dataset(valid[0], valid[1] > 0, group=valid[2], reference=train_data)]
        )
        callbacks: list[Any] = [] if valid is None else [lightgbm.early_stopping(PATIENCE, verbose=False)]
        self._booster = lightgbm.train(
            self._settings, train_data, self._rounds, valid_sets=valid_sets, callbacks=callbacks
        )
        return self

    @property
    def best(self) -> float:
        """Best NDCG@10 on the validation part."""
        return float(self._booster.best_score["valid_0"]["ndcg@10"])

    def scores(self, features: Floats) -> NDArray[np.float64]:
        """Scores [M]."""
        return np.asarray(self._booster.predict(features, num_threads=1), np.float64)
