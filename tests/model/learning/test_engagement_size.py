"""Rank and ridge of the co-engagement space follow from the data: later likes that a space predicts, and its size."""

from __future__ import annotations

import numpy as np

from model.learning.engagement_size import DEFAULT, RANKS, LaterLikes, choose_size, smallest_near_best


def likes_in_groups(groups: int, users: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[LaterLikes]]:
    """Each user likes entities of one group of ten: four earlier, three later."""
    rng = np.random.default_rng(seed)
    tests = []
    for user in range(users):
        liked = rng.permutation(10)[:7] + 10 * (user % groups)
        tests.append(LaterLikes(liked[:4], liked[4:]))
    rows = np.concatenate([test.earlier for test in tests])
    return np.repeat(np.arange(users), 4), rows, tests


def test_few_groups_need_the_smallest_space() -> None:
    users, rows, tests = likes_in_groups(groups=8, users=200)
    assert choose_size(users, rows, np.ones(len(rows)), 80, tests, seed=0)[0] == min(RANKS)


def test_many_groups_need_a_larger_space() -> None:
    users, rows, tests = likes_in_groups(groups=150, users=1_500)
    assert choose_size(users, rows, np.ones(len(rows)), 1_500, tests, seed=0)[0] > min(RANKS)


def test_without_enough_users_the_default_is_taken() -> None:
    users, rows, tests = likes_in_groups(groups=2, users=10)
    assert choose_size(users, rows, np.ones(len(rows)), 20, tests, seed=0) == DEFAULT
    assert choose_size(users[:0], rows[:0], np.ones(0), 20, [], seed=0) == DEFAULT


def test_the_choice_is_the_same_again() -> None:
    users, rows, tests = likes_in_groups(groups=20, users=100)
    sizes = {choose_size(users, rows, np.ones(len(rows)), 200, tests, seed=3) for _ in range(2)}
    assert len(sizes) == 1


def test_a_larger_space_must_be_worth_it() -> None:
    assert smallest_near_best({(64, 1.0): 0.99, (256, 1.0): 1.0}) == (64, 1.0)
    assert smallest_near_best({(64, 1.0): 0.90, (256, 1.0): 1.0}) == (256, 1.0)
