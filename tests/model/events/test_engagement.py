"""Co-engagement vectors are EASE factors, out of fold; popularity is a count; the factorisation is exact."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.events.engagement import TASTE_PRIOR, Engagement, fit, fit_folds, fold_of, tastes
from model.events.transitions import Transitions
from model.text.factorise import truncated_svd

ENTITIES, FOLDS = 12, 3


def log_of(users: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(user, entity) pairs of a small world, without repeats."""
    rng = np.random.default_rng(seed)
    pairs = np.argwhere(rng.random((users, ENTITIES)) < 0.35)
    return pairs[:, 0], pairs[:, 1]


def ease(matrix: np.ndarray, ridge: float) -> np.ndarray:
    """Steck (2019), algorithm 1."""
    inverse = np.linalg.inv(matrix.T @ matrix + ridge * np.eye(matrix.shape[1]))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return weights


def matrix_of(users: np.ndarray, entities: np.ndarray) -> np.ndarray:
    matrix = np.zeros((users.max() + 1, ENTITIES))
    matrix[users, entities] = 1
    return matrix


@pytest.mark.parametrize("ridge", [5.0, 50.0, 300.0])
def test_at_full_rank_it_is_ease(ridge: float) -> None:
    users, entities = log_of()
    table = fit(users, entities, ENTITIES, ENTITIES, ridge, seed=0)
    weights = table.vectors @ table.vectors.T * table.inverse  # i for j
    np.fill_diagonal(weights, 0)
    wanted = ease(matrix_of(users, entities), ridge)
    np.testing.assert_allclose(weights, wanted, atol=3e-3 * np.abs(wanted).max() + 1e-3)


def test_the_score_of_a_history_is_the_score_of_ease() -> None:
    users, entities = log_of()
    table = fit(users, entities, ENTITIES, ENTITIES, 20.0, seed=0)
    liked = np.array([1, 4, 7])
    others = np.setdiff1d(np.arange(ENTITIES), liked)
    scores = (table.vectors @ table.vectors[liked].sum(0)) * table.inverse
    wanted = ease(matrix_of(users, entities), 20.0)[liked].sum(0)
    np.testing.assert_allclose(scores[others], wanted[others], atol=3e-3)


def test_a_pair_counts_once_in_co_engagement_and_each_time_in_popularity() -> None:
    users, entities = log_of()
    once = fit(users, entities, ENTITIES, 6, 20.0, seed=0)
    twice = fit(np.tile(users, 2), np.tile(entities, 2), ENTITIES, 6, 20.0, seed=0)
    np.testing.assert_allclose(twice.vectors, once.vectors, atol=2e-3)
    np.testing.assert_allclose(np.expm1(twice.popularity), 2 * np.expm1(once.popularity), rtol=1e-4)


def test_popularity_is_the_logarithm_of_the_count() -> None:
    table = fit(np.array([0, 1, 2, 0]), np.array([2, 2, 2, 0]), 4, 2, 1.0, seed=0)
    np.testing.assert_allclose(table.popularity, np.log([2, 1, 4, 1]), rtol=1e-6)


def test_entities_without_engagement_have_zeros() -> None:
    table = fit(np.array([0, 1]), np.array([0, 0]), 3, 2, 1.0, seed=0)
    assert not table.vectors[1:].any()
    assert table.inverse[1:].tolist() == [1, 1]
    nobody = fit(np.zeros(0, np.int64), np.zeros(0, np.int64), 3, 2, 1.0, seed=0)
    assert not nobody.vectors.any()
    assert nobody.popularity.tolist() == [0, 0, 0]


def test_vectors_survive_the_packing_of_records() -> None:
    table = fit(*log_of(), ENTITIES, 6, 20.0, seed=0)
    assert np.array_equal(table.vectors, table.vectors.astype(np.float16).astype(np.float32))


def test_taking_row_minus_one_is_an_entity_without_engagement() -> None:
    table = fit(*log_of(), ENTITIES, 6, 20.0, seed=0)
    taken = table.take(np.array([3, -1]))
    assert np.array_equal(taken.vectors[0], table.vectors[3])
    assert not taken.vectors[1].any()
    assert taken.inverse[1] == 1
    assert taken.popularity[1] == 0


# ---- folds --------------------------------------------------------------------------------------------------


def folds_of(users: np.ndarray, entities: np.ndarray) -> list[Engagement]:
    return fit_folds([f"u{user}" for user in users], entities, ENTITIES, 6, 20.0, FOLDS, seed=0)


def test_there_is_a_table_a_fold_and_one_of_everybody() -> None:
    users, entities = log_of()
    tables = folds_of(users, entities)
    assert len(tables) == FOLDS + 1
    whole = fit(users, entities, ENTITIES, 6, 20.0, seed=0)
    np.testing.assert_allclose(tables[-1].popularity, whole.popularity, rtol=1e-6)


@pytest.mark.parametrize("fold", range(FOLDS))
def test_a_table_does_not_know_the_users_of_its_fold(fold: int) -> None:
    """Other entities, and as many of them: neither vectors nor popularity of table f move, those of others do."""
    users, entities = log_of()
    mine = np.array([fold_of(f"u{user}", FOLDS) == fold for user in users])
    assert mine.any()
    assert not mine.all()
    before, after = folds_of(users, entities), folds_of(users, np.where(mine, (entities + 5) % ENTITIES, entities))
    for name in ("vectors", "inverse", "popularity"):
        assert np.array_equal(getattr(before[fold], name), getattr(after[fold], name)), name
        assert not np.array_equal(getattr(before[-1], name), getattr(after[-1], name)), name


@pytest.mark.parametrize("fold", range(FOLDS))
def test_more_events_of_a_fold_change_its_table_by_a_common_factor_at_most(fold: int) -> None:
    """Popularity of a partial table is scaled to the size of the whole, so a factor common to all entities is left."""
    users, entities = log_of()
    mine = np.array([fold_of(f"u{user}", FOLDS) == fold for user in users])
    more = folds_of(np.append(users, users[mine]), np.append(entities, entities[mine]))[fold]
    before = folds_of(users, entities)[fold]
    assert np.array_equal(more.vectors, before.vectors)
    assert np.array_equal(more.inverse, before.inverse)
    factors = np.expm1(more.popularity) / np.expm1(before.popularity)
    np.testing.assert_allclose(factors, factors[0], rtol=1e-4)


def test_popularity_of_a_partial_table_has_the_size_of_the_whole() -> None:
    users, entities = log_of(400)
    tables = folds_of(users, entities)
    whole = float(np.expm1(tables[-1].popularity).sum())
    for table in tables[:-1]:
        assert float(np.expm1(table.popularity).sum()) == pytest.approx(whole, rel=1e-4)


def test_one_user_alone_leaves_an_empty_table() -> None:
    tables = fit_folds(["u1", "u1"], np.array([0, 1]), 3, 2, 1.0, FOLDS, seed=0)
    empty = tables[fold_of("u1", FOLDS)]
    assert not empty.vectors.any()
    assert not empty.popularity.any()
    assert np.isfinite(tables[-1].vectors).all()
    assert len(fit_folds([], np.zeros(0, np.int64), 3, 2, 1.0, FOLDS, seed=0)) == FOLDS + 1


def test_the_fold_of_a_user_is_the_same_in_every_process() -> None:
    assert [fold_of(f"u{number}", 5) for number in range(6)] == [fold_of(f"u{number}", 5) for number in range(6)]
    counts = np.bincount([fold_of(f"u{number}", 5) for number in range(5000)])
    assert counts.min() > 800


# ---- factorisation ------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 14), st.integers(1, 14), st.integers(1, 20), st.integers(0, 3))
def test_the_truncated_svd_agrees_with_the_full_one(rows: int, columns: int, rank: int, seed: int) -> None:
    dense = torch.from_numpy(np.random.default_rng(seed).normal(size=(rows, columns)).astype(np.float32))
    values, right = truncated_svd(dense.to_sparse_coo().coalesce(), rank, seed)
    kept = min(rank, rows, columns)
    assert values.shape == (kept,)
    assert right.shape == (columns, kept)
    torch.testing.assert_close(values, torch.linalg.svdvals(dense)[:kept], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(right.T @ right, torch.eye(kept), rtol=1e-3, atol=1e-3)


def test_what_was_met_and_not_liked_joins_co_engagement_by_its_weight_and_no_popularity() -> None:
    users, entities = log_of()
    weights = np.where(np.arange(len(users)) % 3 == 0, 0.4, 1.0)
    table = fit(users, entities, ENTITIES, ENTITIES, 20.0, 0, weights)
    matrix = matrix_of(users, entities)
    matrix[users, entities] = weights
    found = table.vectors @ table.vectors.T * table.inverse
    np.fill_diagonal(found, 0)
    np.testing.assert_allclose(found, ease(matrix, 20.0), atol=3e-3)
    liked = np.bincount(entities[weights == 1], minlength=ENTITIES)
    np.testing.assert_allclose(table.popularity, np.log1p(liked), rtol=1e-6)


def test_a_pair_that_was_liked_and_passed_counts_as_liked() -> None:
    pairs = np.array([0, 0, 1]), np.array([2, 2, 1])
    table = fit(*pairs, 4, 2, 1.0, 0, np.array([0.4, 1.0, 1.0]))
    liked = fit(pairs[0][1:], pairs[1][1:], 4, 2, 1.0, 0)
    np.testing.assert_allclose(np.abs(table.vectors), np.abs(liked.vectors), atol=1e-3)


def test_popularity_of_a_fold_is_scaled_by_its_share_of_likes() -> None:
    users = [f"u{number}" for number in range(40)]
    entities = np.arange(40) % 4
    weights = np.tile([1.0, 0.4], 20)
    whole = fit_folds(users, entities, 4, 2, 1.0, FOLDS, 0, weights=weights)
    for table in whole[:-1]:
        assert np.expm1(table.popularity).sum() == pytest.approx(20, rel=1e-4)


def test_the_taste_of_a_country_is_what_it_likes_more_than_average() -> None:
    vectors = np.array([[1, 0], [0, 1], [0, 0]], np.float32)
    table = Engagement(vectors, np.ones(3, np.float32), np.zeros(3, np.float32), Transitions.none(3, 0))
    entities, places = np.array([0, 0, 0, 1, 1]), np.array([0, 0, 0, 1, 0])
    found = tastes(table, entities, places, countries=3)
    overall = np.array([0.6, 0.4])
    np.testing.assert_allclose(found[0], (np.array([0.75, 0.25]) - overall) * 4 / (4 + TASTE_PRIOR), rtol=1e-5)
    np.testing.assert_allclose(found[1], (np.array([0.0, 1.0]) - overall) * 1 / (1 + TASTE_PRIOR), rtol=1e-5)
    assert found[2].tolist() == [0, 0]  # nobody there liked anything
    assert tastes(table, entities[:0], places[:0], countries=2).tolist() == [[0, 0], [0, 0]]
