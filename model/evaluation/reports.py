"""The report of `unirank evaluate`: which rows are tested, which are history, and the JSON report."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl

from model.datasets.dataset import Dataset
from model.evaluation.checks import check_evaluation
from model.evaluation.network_subject import NetworkSubject
from model.evaluation.protocols import evaluate
from model.evaluation.served import Proposing, served_report
from model.evaluation.trec_files import trec_files
from model.events.timelines import labelled_rankings, timelines
from model.learning.calibration import Calibration
from model.learning.trained_rows import SAME_ROW, TrainedRows
from model.learning.training_data import rankable
from model.network.catalogue import CatalogueRanker

Report = Callable[[int, int, str], None]


class Evaluable(Proposing, Protocol):
    """The part of a loaded artefact that evaluation needs."""

    version: str
    tasks: tuple[str, ...]

    @property
    def calibration(self) -> Calibration:
        """Its calibration."""

    @property
    def users(self) -> Collection[str]:
        """Users that it was trained on."""

    @property
    def dataset(self) -> Mapping[str, Any]:
        """The manifest's entry about the dataset that it was trained on."""

    def with_entities(self, entities: list[dict[str, object]]) -> CatalogueRanker:
        """Its catalogue with further entities, scored from their attributes alone."""


def evaluate_artefact(
    artefact: Evaluable,
    dataset: Dataset,
    history: Dataset | None = None,
    report: Report = lambda *_: None,
    run: Path | None = None,
    qrels: Path | None = None,
    curve: Sequence[int] = (),
) -> dict[str, Any]:
    """The JSON report: metrics of each task that the model and the test rows share, and `warnings` (docs/models.md).

    Rows under test: part = test, or all rows if none has a part. Raises ValueError if there are none, or if rankers
    whose result is known get another (`checks.py`). `run`, `qrels`: files for the rankings (`trec_files.py`). `curve`:
    numbers of proposals for the served catalogue (`served.py`).
    """
    test, past = _split(dataset, history)
    test = test.filter(pl.col("task").is_in(artefact.tasks))
    if test.is_empty():
        raise ValueError(f"dataset '{dataset.name}' has no test rows for the tasks {', '.join(artefact.tasks)}")
    catalogue = artefact.with_entities(dataset.entities)
    under_test = rankable(labelled_rankings(test), artefact.catalogue.rules)
    done, catalogued = 0, sum(not ranking.slate for ranking in under_test)
    total = len(under_test) + catalogued * (1 + len(curve))

    def step() -> None:
        nonlocal done
        done += 1
        report(done, total, "")

    subject, histories, popularity = NetworkSubject(catalogue), timelines(past), popularity_of(past, catalogue)
    check_evaluation(catalogue.rows, under_test, histories)
    with trec_files(run, qrels, catalogue.ids) as files:
        tasks = evaluate(subject, under_test, histories, popularity, artefact.calibration, step, files.watch)
    for task, served in served_report(artefact, catalogue, under_test, histories, curve, step).items():
        tasks[task]["served"] = served
    result = {"model": {"version": artefact.version}, "dataset": {"name": dataset.name}, "tasks": tasks}
    messages = warnings(artefact, dataset, test)
    return result | {"warnings": messages} if messages else result


def warnings(artefact: Evaluable, dataset: Dataset, test: pl.DataFrame) -> list[dict[str, Any]]:
    """Reasons why the figures may mislead: `{"code": …, "detail": one line}` each, some with a `share` of rows."""
    return [*_nothing_shared(artefact, dataset, test), *_trained_on(artefact, test)]


def _nothing_shared(artefact: Evaluable, dataset: Dataset, test: pl.DataFrame) -> Iterator[dict[str, Any]]:
    subject = f"dataset '{dataset.name}' and model {artefact.version}"
    if not any(entity["entity_id"] in artefact.catalogue.rows for entity in dataset.entities):
        yield {"code": "no_shared_entities", "detail": f"{subject} share no entity: all are scored as new ones"}
    users = set(test["user_id"].drop_nulls().unique())
    if users and artefact.users and users.isdisjoint(artefact.users):
        yield {"code": "no_shared_users", "detail": f"{subject} share no user: all are scored as new ones"}


def _trained_on(artefact: Evaluable, test: pl.DataFrame) -> Iterator[dict[str, Any]]:
    rows = artefact.dataset.get("rows")
    share = TrainedRows.from_json(rows).share(test) if rows else 0.0  # models of earlier releases have no entry
    if share:
        detail = f"model {artefact.version} was trained on {share:.1%} of the rows under test: the figures are too good"
        yield {"code": "trained_on_rows", "detail": detail, "share": round(share, 4)}


def _split(dataset: Dataset, history: Dataset | None) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows under test, and rows that are history; rows under test never enter a history."""
    events = dataset.events
    if events["part"].null_count() == len(events):
        test, others = events, events.clear()
    else:
        is_test = pl.col("part").fill_null("train") == "test"
        test, others = events.filter(is_test), events.filter(~is_test)
    return test, others if history is None else history.events.join(test, on=SAME_ROW, how="anti", nulls_equal=True)


def popularity_of(past: pl.DataFrame, catalogue: CatalogueRanker) -> np.ndarray:
    """The number of positive rows of each entity of the catalogue. [N]"""
    rows = [catalogue.rows[e] for e in past.filter(pl.col("label") > 0)["entity_id"] if e in catalogue.rows]
    return np.bincount(np.array(rows, np.int64), minlength=len(catalogue.ids)).astype(np.float64)
