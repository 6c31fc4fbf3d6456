"""The teacher: it says of a row what trees fitted to other queries think, and says nothing where slates are few."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from model.artefact.build import build
from model.config import Config
from model.context.context import SEARCH, Context
from model.datasets.dataset import Dataset
from model.events.timelines import LabelledRanking
from model.learning import teacher
from model.learning.sampling import Sampler
from model.learning.teacher import targets, taught

ROWS = 8


def slate(number: int, query: str | None = None, task: str = SEARCH) -> LabelledRanking:
    """A slate whose relevant rows are those with a high second feature."""
    features = features_of_number(number)
    return LabelledRanking(
        Context(task, query=query or f"query {number}"), tuple(f"e{i}" for i in range(ROWS)),
        (features[:, 1] > 0.3).astype(np.float64), np.full(ROWS, number), slate=True,
    )  # fmt: skip


def features_of_number(number: int) -> np.ndarray:
    return np.random.default_rng(number).normal(size=(ROWS, 3)).astype(np.float32)


def match(ranking: LabelledRanking) -> np.ndarray:
    return features_of_number(int(ranking.times[0]))


@pytest.fixture(scope="module")
def slates() -> list[LabelledRanking]:
    return [slate(number) for number in range(teacher.FEWEST)]


def test_trees_say_what_they_learned_from_other_queries(slates: list[LabelledRanking]) -> None:
    said = taught(slates, match, seed=0)
    for ranking, learned in zip(slates, said, strict=True):
        assert learned.taught is not None
        assert learned.taught.shape == (ROWS,)
        assert learned.entity_ids == ranking.entity_ids
    scores = np.concatenate([ranking.taught for ranking in said if ranking.taught is not None])
    labels = np.concatenate([ranking.labels for ranking in slates])
    assert scores[labels > 0].min() > scores[labels == 0].mean()
    assert scores[labels > 0].mean() > scores[labels == 0].mean() + 1


def test_no_row_is_scored_by_trees_that_saw_its_query(slates: list[LabelledRanking]) -> None:
    """All slates of one query say that a coin decides: only trees that saw them could know how it fell."""
    coin = np.random.default_rng(1)
    same = [slate(1000 + n, "The  Same query!" if n % 2 else "the same query") for n in range(200)]
    tossed = [
        LabelledRanking(u.context, u.entity_ids, coin.integers(0, 2, ROWS).astype(float), u.times, True) for u in same
    ]
    said = taught([*slates, *tossed], match, seed=0)[len(slates) :]
    scores = np.concatenate([ranking.taught for ranking in said if ranking.taught is not None])
    labels = np.concatenate([ranking.labels for ranking in tossed])
    assert abs(scores[labels > 0].mean() - scores[labels == 0].mean()) < 0.3


def test_few_slates_and_other_units_are_left_alone(slates: list[LabelledRanking]) -> None:
    loose = LabelledRanking(Context(SEARCH, query="a"), ("e1",), np.ones(1), np.zeros(1, np.int64), slate=False)
    few = [slate(n, task="browse") for n in range(20)]
    said = taught([loose, *few, *slates], match, seed=0)
    assert all(ranking.taught is None for ranking in said[: 1 + len(few)])
    assert all(ranking.taught is not None for ranking in said[1 + len(few) :])


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_targets_are_shares_of_the_labels_and_of_what_was_said(share: float) -> None:
    labels, scores = np.array([2, 0, 2, -1], np.float32), np.log(np.array([1, 2, 3, 4], np.float32))
    expected = (1 - share) * np.array([0.5, 0, 0.5, 0]) + share * np.array([0.1, 0.2, 0.3, 0.4])
    np.testing.assert_allclose(targets(labels, scores, share), expected, atol=1e-6)


def test_examples_of_taught_units_aim_at_it(slates: list[LabelledRanking], small_config) -> None:
    said = taught(slates, match, seed=0)
    rows = {f"e{i}": i for i in range(40)}
    names = {entity_id: entity_id for entity_id in rows}
    from model.context.imputation import DEFAULT_RULES

    sampler = Sampler(said, {}, rows, names, DEFAULT_RULES, small_config.training)
    rng = np.random.default_rng(0)
    aimed = [example for example in sampler.draw(SEARCH, rng) if example.shown.sum() == ROWS]
    assert aimed
    for example in aimed:
        assert example.targets[~example.shown].sum() == 0
        assert example.targets.sum() == pytest.approx(1, abs=1e-5)
        assert (example.targets[example.shown] > 0).all()
        assert not np.array_equal(example.targets, example.labels)


# ---- LightGBM is an extra ---------------------------------------------------------------------------------------


@pytest.fixture
def not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any import of LightGBM fails, as where it is not installed."""
    monkeypatch.setitem(sys.modules, "lightgbm", None)


@pytest.mark.usefixtures("not_installed")
def test_without_lightgbm_slates_keep_their_labels_and_that_is_said_once(slates: list[LabelledRanking]) -> None:
    with pytest.raises(ImportError):
        import_module("lightgbm")
    said: list[str] = []
    browsed = [slate(number, task="browse") for number in range(teacher.FEWEST)]
    assert taught([*slates, *browsed], match, seed=0, say=said.append) == [*slates, *browsed]
    assert said == [
        "boosted trees are not installed: judged slates learn from labels alone (pip install 'unirank[teacher]')"
    ]


@pytest.mark.usefixtures("not_installed")
def test_without_lightgbm_nothing_is_said_where_slates_are_too_few_to_teach(slates: list[LabelledRanking]) -> None:
    said: list[str] = []
    taught(slates[1:], match, seed=0, say=said.append)
    assert not said


def a_model(world: Dataset, config: Config, out: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[object, list[str]]:
    """What the manifest says of trees, and what was said, of a model of a few steps; few slates are enough."""
    monkeypatch.setattr(teacher, "FEWEST", 20)
    monkeypatch.setattr(teacher, "ROUNDS", 3)
    training = replace(config.training, steps=2, contexts_per_step=6, evaluations=1, validation_rankings=4)
    said: list[str] = []
    manifest = build(world, out, replace(config, training=training), say=said.append)
    return manifest.metrics["taught_by_trees"], [line for line in said if "trees" in line]


@pytest.mark.usefixtures("not_installed")
def test_a_model_trains_without_lightgbm(
    world: Dataset, small_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert a_model(world, small_config, tmp_path / "model", monkeypatch) == ([], [teacher.NOT_INSTALLED])


def test_the_manifest_names_the_tasks_that_trees_taught(
    world: Dataset, small_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks, said = a_model(world, small_config, tmp_path / "model", monkeypatch)
    assert tasks
    assert said == [f"trees that teach {task}" for task in tasks]
