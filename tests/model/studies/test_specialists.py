"""The specialists against their definition, or on data whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from model.baselines.bm25 import BM25
from model.baselines.content import TfIdfContent
from model.baselines.ease import EASE
from model.baselines.ials import IALS
from model.baselines.lambdamart import LambdaMART, Slates
from model.baselines.sasrec import SASRec
from model.config import Config
from model.datasets.dataset import Dataset
from model.studies.study_data import StudyData

USERS, ITEMS = 40, 12


@pytest.fixture
def likes() -> tuple[np.ndarray, np.ndarray, int, int]:
    """Users of even number like items 0 to 5, the others 6 to 11; each misses some."""
    rng = np.random.default_rng(0)
    pairs = [(u, 6 * (u % 2) + i) for u in range(USERS) for i in range(6) if rng.random() < 0.7]
    users, items = np.array(pairs).T
    return users, items, USERS, ITEMS


def test_ease_is_the_closed_form(likes: tuple[np.ndarray, np.ndarray, int, int]) -> None:
    users, items, n_users, n_items = likes
    matrix = np.zeros((n_users, n_items))
    matrix[users, items] = 1
    inverse = np.linalg.inv(matrix.T @ matrix + 7.0 * np.eye(n_items))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    history = np.array([0, 3, 4])
    expected = weights[history].sum(0)
    assert EASE(7.0).fit(*likes).scores(history) == pytest.approx(expected, abs=1e-5)
    recent = (0.3 + 0.5**2) * weights[0] + (0.3 + 0.5) * weights[3] + 1.3 * weights[4]
    assert EASE(7.0, recency=(0.5, 0.3)).fit(*likes).scores(history) == pytest.approx(recent, abs=1e-5)


def test_ease_counts_a_repeat_once_and_at_its_newest_place(likes: tuple[np.ndarray, np.ndarray, int, int]) -> None:
    model = EASE(7.0, recency=(0.5, 0.3)).fit(*likes)
    assert model.scores(np.array([4, 0, 4, 99])) == pytest.approx(model.scores(np.array([0, 4])))


def test_ials_finds_the_group_of_a_new_user(likes: tuple[np.ndarray, np.ndarray, int, int]) -> None:
    model = IALS(factors=2, iterations=10).fit(*likes)
    scores = model.scores(np.array([0, 1]))
    assert scores[2:6].min() > scores[6:].max()
    assert (IALS(factors=2, iterations=10).fit(*likes).scores(np.array([0, 1])) == scores).all()
    assert not model.scores(np.array([], int)).any()


def test_sasrec_learns_an_order() -> None:
    circle = [np.array([(start + step) % 8 for step in range(9)]) for start in range(8)]
    model = SASRec(width=16, blocks=1, length=6, dropout=0.0, learning_rate=0.02, epochs=40, batch=8)
    assert model.fit(circle, 8).scores(np.array([2, 3, 4])).argmax() == 5
    again = SASRec(width=16, blocks=1, length=6, dropout=0.0, learning_rate=0.02, epochs=40, batch=8).fit(circle, 8)
    assert again.scores(np.array([6])) == pytest.approx(model.scores(np.array([6])))
    assert not model.scores(np.array([], int)).any()


def test_sasrec_keeps_the_state_that_validation_liked_best() -> None:
    circle = [np.array([(start + step) % 8 for step in range(9)]) for start in range(8)]
    seen: list[np.ndarray] = []
    model = SASRec(width=8, blocks=1, length=6, dropout=0.0, epochs=10, batch=8)

    def worse_each_time() -> float:
        seen.append(model.scores(np.array([1, 2])))
        return -float(len(seen))

    model.fit(circle, 8, worse_each_time)
    assert len(seen) == 10
    assert model.scores(np.array([1, 2])) == pytest.approx(seen[0])
    assert seen[-1] != pytest.approx(seen[0])


def test_bm25_stems_and_prefers_the_title() -> None:
    index = BM25().fit({"title": ["Robot", "The Iron Giant", "Up"], "plot": ["a house", "a huge robot", "balloons"]})
    assert index.names == ["title", "plot", "all"]
    scores = index.scores("robots")
    assert scores.shape == (3, 3)
    assert scores[0, 0] > 0 == scores[1, 0]
    assert scores[1, 1] > 0
    assert not index.scores("zebra").any()
    assert not index.scores("").any()


def test_content_finds_the_nearest_text() -> None:
    model = TfIdfContent().fit(["space war robots", "robots in space", "a wedding in Paris", "Paris love wedding"])
    assert model.scores(np.array([0]))[1:].argmax() == 0
    assert model.scores(np.array([2]))[3] > model.scores(np.array([2]))[1]
    assert not model.scores(np.array([], int)).any()


def slates(seed: int, count: int = 60) -> Slates:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count * 8, 3)).astype(np.float32)
    return features, (features[:, 1] > 0.8).astype(np.float32), np.full(count, 8)


def test_lambdamart_learns_a_rule_and_does_it_again() -> None:
    model = LambdaMART(leaves=4, rounds=30, min_leaf=5).fit(slates(0), slates(1))
    probe = np.array([[0, 2, 0], [0, -2, 0], [2, 0.0, 2]], np.float32)
    scores = model.scores(probe)
    assert scores.argmax() == 0
    assert model.best > 0.95
    assert (LambdaMART(leaves=4, rounds=30, min_leaf=5).fit(slates(0), slates(1)).scores(probe) == scores).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda: EASE(0.0),
        lambda: IALS(factors=0),
        lambda: SASRec(length=1),
        lambda: BM25(b=2.0),
        lambda: LambdaMART(leaves=1),
    ],
)
def test_settings_out_of_range_are_refused(make: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        make()  # type: ignore[operator]


def test_words_without_numbers_are_the_same_words(world: Dataset) -> None:
    words = StudyData(world, Config()).words
    whole, alone = words("toy story", None), words.without_numbers()("toy story", None)
    numbers = 1 + sum(kind == "number" for kind in world.columns.values())  # and popularity
    assert whole.shape[1] - alone.shape[1] == numbers
    assert np.array_equal(alone[:, :-1], whole[:, : alone.shape[1] - 1])
    assert np.array_equal(alone[:, -1], whole[:, -1])
