"""The range of every number in a configuration. A test trains at the ends; beyond them, training fails or hangs.

Lowest and highest are both allowed. `OPEN` below one is the largest share that leaves something.
"""

from __future__ import annotations

from collections.abc import Mapping

Limits = tuple[float, float]

OPEN = 0.99
WIDE, MANY = 4_096, 2**24
WIDTH, SHARE = (1, WIDE), (0.0, 1.0)
SEED: Limits = (0, 2**31 - 1)  # LightGBM takes 31 bits

NETWORK: Mapping[str, Limits] = {
    "width": WIDTH, "text_width": WIDTH, "text_buckets": (2, MANY), "engagement_width": WIDTH,
    "engagement_ridge": (1e-3, 1e9), "engagement_passed": (0.0, 10.0), "id_width": WIDTH, "category_width": WIDTH,
    "category_buckets": (2, MANY), "user_width": WIDTH, "tower_hidden": WIDTH, "scorer_hidden": WIDTH,
    "history_length": (1, 10_000), "profile_length": (1, 10_000), "feature_bins": (2, 256), "dropout": (0.0, OPEN),
    "learned_dropout": SHARE,
}  # fmt: skip
TRAINING: Mapping[str, Limits] = {
    "steps": (0, 10_000_000), "contexts_per_step": (1, 100_000), "negatives": (4, 1_000_000),
    "hard_negatives": (0, 100_000), "positives": (1, 100_000), "slate": (2, 100_000), "learning_rate": (1e-9, 1.0),
    "weight_decay": (0.0, 10.0), "average": (0.0, 1.0), "teaching": SHARE, "bce_weight": (0.0, 1_000.0),
    "retrieval_weight": (0.0, 1_000.0), "task_exponent": (0.0, 2.0), "id_dropout": SHARE, "cold_dropout": SHARE,
    "user_dropout": SHARE, "borrowed_user": SHARE, "name_searches": SHARE, "history_dropout": SHARE,
    "country_dropout": SHARE, "name_query_dropout": SHARE, "folds": (2, 100), "evaluations": (1, 100_000),
    "validation_rankings": (1, 10_000_000),
}  # fmt: skip
LIMITS = {"network": NETWORK, "training": TRAINING}
