"""The baselines agree with arithmetic on a few likes, and the block-wise fit agrees with a dense product."""

from __future__ import annotations

import math

import numpy as np
import pytest

from model.baselines import item_knn
from model.baselines.item_knn import ItemKNN
from model.baselines.popularity import Popularity

# user 0 likes 0 1, user 1 likes 0 1 2, user 2 likes 2; item 3 has no likes
USERS = np.array([0, 0, 1, 1, 1, 2])
ITEMS = np.array([0, 1, 0, 1, 2, 2])


def test_popularity_counts_users() -> None:
    twice = Popularity().fit(np.tile(USERS, 2), np.tile(ITEMS, 2), n_users=3, n_items=4)
    assert twice.scores(np.array([0])).tolist() == [2, 2, 2, 0]
    assert twice.scores(np.array([0])).dtype == np.float32


def test_cosine_agrees_with_a_calculation_by_hand() -> None:
    knn = ItemKNN(shrink=0.0).fit(USERS, ITEMS, n_users=3, n_items=4)
    # 0 and 1 share both users: 2 / √(2·2); 0 and 2 share one: 1 / √(2·2)
    assert knn.scores(np.array([0])).tolist() == [0.0, 1.0, 0.5, 0.0]
    assert knn.scores(np.array([0, 2])).tolist() == [0.5, 1.5, 0.5, 0.0]
    assert knn.scores(np.array([0])).dtype == np.float32


def test_shrinkage_agrees_with_a_calculation_by_hand() -> None:
    knn = ItemKNN(shrink=2.0).fit(USERS, ITEMS, n_users=3, n_items=4)
    assert knn.scores(np.array([0])).tolist() == pytest.approx([0.0, 2 / (2 + 2), 1 / (2 + 2), 0.0])


def test_unequal_popularity_agrees_with_a_calculation_by_hand() -> None:
    # item 0 has three likes, item 1 has one of the same users
    knn = ItemKNN(shrink=1.0).fit(np.array([0, 1, 2, 2]), np.array([0, 0, 0, 1]), n_users=3, n_items=2)
    assert knn.scores(np.array([1])).tolist() == pytest.approx([1 / (math.sqrt(3) + 1), 0.0])


def test_only_the_nearest_neighbours_count() -> None:
    knn = ItemKNN(neighbours=1, shrink=0.0).fit(USERS, ITEMS, n_users=3, n_items=4)
    assert knn.scores(np.array([0])).tolist() == [0.0, 1.0, 0.0, 0.0]


def test_repeated_likes_and_repeated_history_count_once() -> None:
    once = ItemKNN().fit(USERS, ITEMS, n_users=3, n_items=4)
    twice = ItemKNN().fit(np.tile(USERS, 2), np.tile(ITEMS, 2), n_users=3, n_items=4)
    assert np.array_equal(once.scores(np.array([0, 2])), twice.scores(np.array([2, 0, 2])))


def test_nothing_known_scores_zero() -> None:
    knn = ItemKNN().fit(USERS, ITEMS, n_users=3, n_items=4)
    for history in ([], [3], [-1, 4, 99]):
        assert knn.scores(np.array(history, dtype=np.int64)).tolist() == [0.0] * 4
    nothing = np.zeros(0, dtype=np.int64)
    assert ItemKNN().fit(nothing, nothing, n_users=0, n_items=2).scores(nothing).tolist() == [0.0, 0.0]
    assert ItemKNN().fit(nothing, nothing, n_users=0, n_items=0).scores(nothing).size == 0


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="item indices from 0 to 2, got 0 to 3"):
        ItemKNN().fit(np.array([0, 0]), np.array([0, 3]), n_users=1, n_items=3)
    with pytest.raises(ValueError, match="user indices from 0 to 0, got -1 to 0"):
        Popularity().fit(np.array([0, -1]), np.array([0, 1]), n_users=1, n_items=3)
    with pytest.raises(ValueError, match="one user for each item"):
        Popularity().fit(np.array([0]), np.array([0, 1]), n_users=1, n_items=3)
    with pytest.raises(ValueError, match="neighbours ≥ 1"):
        ItemKNN(neighbours=0)


@pytest.mark.parametrize("pairs", [1, 500, 4_000_000])
def test_blocks_agree_with_the_dense_product(monkeypatch: pytest.MonkeyPatch, pairs: int) -> None:
    monkeypatch.setattr(item_knn, "_BLOCK_PAIRS", pairs)
    rng = np.random.default_rng(5)
    liked = rng.random((40, 300)) < 0.1
    users, items = np.nonzero(liked)
    order = rng.permutation(users.size)
    knn = ItemKNN(neighbours=300).fit(users[order], items[order], n_users=40, n_items=300)

    x = liked.astype(np.float64)
    norms = np.sqrt(x.sum(axis=0))
    similarity = (x.T @ x) / (np.outer(norms, norms) + 10.0)
    np.fill_diagonal(similarity, 0.0)
    for history in ([0], [7, 150, 299]):
        assert knn.scores(np.array(history)) == pytest.approx(similarity[history].sum(axis=0), abs=1e-5)
