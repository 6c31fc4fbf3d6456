"""The simplest rivals on the same rows as `unirank evaluate`: popularity and ItemKNN, for homepage and more-like-this.

They learn from the training part and get the same histories as the network. ItemKNN's neighbours and shrinkage are
chosen on validation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from model.baselines.item_knn import ItemKNN
from model.baselines.popularity import Popularity
from model.data.context import HOMEPAGE, MORE_LIKE_THIS, Context
from model.data.dataset import Dataset
from model.data.events import timelines, units
from model.learning.evaluation import Subject, evaluate
from model.learning.prepared import part_rows

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Say = Callable[[str], None]
TASKS = (HOMEPAGE, MORE_LIKE_THIS)
GRID = [(neighbours, shrink) for neighbours in (50, 200, 800) for shrink in (0.0, 10.0, 50.0)]


class BaselineSubject:
    """A baseline that scores the whole catalogue from liked rows: the source where there is one, else the history."""

    def __init__(self, model: ItemKNN | Popularity, rows: Mapping[str, int]) -> None:
        self.model = model
        self.rows = rows

    def score(self, context: Context, rows: Ints | None) -> Floats:
        """Scores of the named rows, or of the whole catalogue."""
        liked = [self.rows[event.entity_id] for event in context.history if event.label > 0]
        if context.source_entity_id is not None:
            liked = [self.rows[context.source_entity_id]]
        scores = np.asarray(self.model.scores(np.array(liked, np.int64)), np.float64)
        return scores if rows is None else scores[rows]


def run(dataset: Dataset, say: Say = lambda _: None) -> dict[str, Any]:
    """The report of `evaluate` for each baseline: {name: {task: metrics}}. Intervals as everywhere."""
    rows = {str(entity["entity_id"]): row for row, entity in enumerate(dataset.entities)}
    likes = _likes(dataset, rows)
    popularity = Popularity().fit(*likes)
    knn, chosen = _tuned_knn(dataset, rows, likes, say)
    report: dict[str, Any] = {"item_knn_settings": {"neighbours": chosen[0], "shrink": chosen[1]}}
    for name, model in (("popularity", popularity), ("item_knn", knn)):
        say(f"ranking by {name}")
        report[name] = _evaluated(dataset, BaselineSubject(model, rows), ("test",), ("train", "validation"))
    return report


def _likes(dataset: Dataset, rows: Mapping[str, int]) -> tuple[Ints, Ints, int, int]:
    """Distinct users and rows of the positive homepage and search rows of the training part."""
    positive = part_rows(dataset.events, ("train",)).filter(
        (pl.col("label") > 0) & pl.col("user_id").is_not_null() & (pl.col("task") != MORE_LIKE_THIS)
    )
    _, users = np.unique(np.array(positive["user_id"].to_list(), dtype=object), return_inverse=True)
    items = np.array([rows[entity] for entity in positive["entity_id"]], np.int64)
    return users.astype(np.int64), items, int(users.max(initial=-1)) + 1, len(rows)


def _tuned_knn(
    dataset: Dataset, rows: Mapping[str, int], likes: tuple[Ints, Ints, int, int], say: Say
) -> tuple[ItemKNN, tuple[int, float]]:
    best, best_value, chosen = ItemKNN().fit(*likes), -1.0, (100, 10.0)
    for neighbours, shrink in GRID:
        say(f"ItemKNN on validation, {neighbours} neighbours, shrinkage {shrink:g}")
        model = ItemKNN(neighbours=neighbours, shrink=shrink).fit(*likes)
        report = _evaluated(dataset, BaselineSubject(model, rows), ("validation",), ("train",), (HOMEPAGE,))
        value = report.get(HOMEPAGE, {}).get("ndcg@10", {"value": 0.0})["value"]
        if value > best_value:
            best, best_value, chosen = model, value, (neighbours, shrink)
    return best, chosen


def _evaluated(
    dataset: Dataset,
    subject: Subject,
    under_test: tuple[str, ...],
    past: tuple[str, ...],
    tasks: tuple[str, ...] = TASKS,
) -> dict[str, Any]:
    rows = part_rows(dataset.events, under_test).filter(pl.col("task").is_in(list(tasks)))
    before = part_rows(dataset.events, past)
    counted = [subject.rows[entity] for entity in before.filter(pl.col("label") > 0)["entity_id"]]
    popularity = np.bincount(np.array(counted, np.int64), minlength=len(subject.rows)).astype(np.float64)
    return evaluate(subject, units(rows), timelines(before), popularity)
