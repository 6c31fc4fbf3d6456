"""Evaluates a model on the rows of a dataset: the protocol, not the metrics themselves (`metrics.py`).

The rows of a judged slate are ranked among themselves. Everything else is ranked against the whole catalogue, by
the ranker itself, without the entities of the user's history; `homepage` always is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from model.context.context import MORE_LIKE_THIS, Context
from model.evaluation import metrics
from model.events.timelines import LabelledRanking, Timeline
from model.learning.calibration import Calibration

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Step = Callable[[], None]
Interval = dict[str, float]  # value, low, high
Item = TypeVar("Item")
POOLED_DRAWS = 200


class Subject(Protocol):
    """A model that can be evaluated: it gives each row of a catalogue a score in a context."""

    @property
    def rows(self) -> Mapping[str, int]:
        """Entity id → row."""

    def score(self, context: Context, rows: Ints | None) -> Floats:
        """Scores of the given rows, or of the whole catalogue."""


@dataclass(slots=True)
class RankingResults:
    """The rankings of one task under one protocol: values by metric, and the labelled rows for auc and ece."""

    values: dict[str, list[float]] = field(default_factory=dict)
    groups: list[str] = field(default_factory=list)
    slices: list[frozenset[str]] = field(default_factory=list)
    tops: list[Ints] = field(default_factory=list)
    logits: list[Floats] = field(default_factory=list)
    labels: list[Floats] = field(default_factory=list)

    def add(self, ranking: LabelledRanking, number: int, **values: float | None) -> None:
        """Add one ranking. A metric that is undefined for it is NaN."""
        for name, value in values.items():
            self.values.setdefault(name, []).append(np.nan if value is None else value)
        self.groups.append(ranking.context.user_id or f"ranking {number}")
        self.slices.append(ranking.slices)


def evaluate(
    subject: Subject,
    rankings: Sequence[LabelledRanking],
    histories: Mapping[str, Timeline],
    popularity: NDArray[np.float64],
    calibration: Calibration | None = None,
    step: Step = lambda: None,
) -> dict[str, dict[str, object]]:
    """Metrics of each task, with bootstrap 95 % intervals; `popularity` [N] counts positives, for novelty."""
    report = {}
    for task in sorted({ranking.context.task for ranking in rankings}):
        group = [ranking for ranking in rankings if ranking.context.task == task]
        slates = rank_slates(subject, [ranking for ranking in group if ranking.slate], histories, step)
        catalogue = rank_catalogue(subject, [ranking for ranking in group if not ranking.slate], histories, step)
        report[task] = _task_report(task, slates, catalogue, popularity, calibration)
    return report


def _with_history(ranking: LabelledRanking, histories: Mapping[str, Timeline]) -> Context:
    timeline = histories.get(ranking.context.user_id or "")
    return replace(ranking.context, history=tuple(timeline.events) if timeline else ())


def rank_slates(
    subject: Subject, rankings: Iterable[LabelledRanking], histories: Mapping[str, Timeline], step: Step
) -> RankingResults:
    """Rank the rows of each slate."""
    ranked = RankingResults()
    for number, ranking in enumerate(rankings):
        rows = np.array([subject.rows[entity] for entity in ranking.entity_ids], np.int64)
        scores = subject.score(_with_history(ranking, histories), rows)
        ranked.add(
            ranking,
            number,
            **{"ndcg@10": metrics.ndcg(scores, ranking.labels, 10), "mrr": metrics.mrr(scores, ranking.labels)},
            auc=metrics.auc(scores, ranking.labels),
        )
        ranked.logits.append(scores)
        ranked.labels.append(ranking.labels)
        step()
    return ranked


def rank_catalogue(
    subject: Subject,
    rankings: Iterable[LabelledRanking],
    histories: Mapping[str, Timeline],
    step: Step,
    met: bool = False,
) -> RankingResults:
    """Rank the whole catalogue for each context; entities of the user's history are left out unless `met`."""
    ranked = RankingResults()
    for number, ranking in enumerate(rankings):
        context = _with_history(ranking, histories)
        scores = np.array(subject.score(context, None), np.float64)
        rows = np.array([subject.rows[entity] for entity in ranking.entity_ids], np.int64)
        ranked.logits.append(scores[rows])
        ranked.labels.append(ranking.labels)
        labels = np.zeros(len(scores))
        np.maximum.at(labels, rows, ranking.labels)
        allowed = np.ones(len(scores), bool)
        if not met:
            allowed[[subject.rows[e.entity_id] for e in context.history if e.entity_id in subject.rows]] = False
        if (labels[allowed] > 0).any():
            _add_catalogue(ranked, ranking, number, scores, labels, allowed)
        step()
    return ranked


def _add_catalogue(
    ranked: RankingResults, ranking: LabelledRanking, number: int, scores: Floats, labels: Floats, allowed: Ints
) -> None:
    kept = np.flatnonzero(allowed)
    values = {
        "ndcg@10": metrics.ndcg(scores[kept], labels[kept], 10),
        **{f"recall@{k}": metrics.recall(scores[kept], labels[kept], k) for k in (1, 10, 30)},
    }
    ranked.add(ranking, number, **values)
    ranked.tops.append(kept[metrics.top_k(scores[kept], 10)])


def _task_report(
    task: str,
    slates: RankingResults,
    whole_catalogue: RankingResults,
    popularity: NDArray[np.float64],
    calibration: Calibration | None,
) -> dict[str, object]:
    report: dict[str, object] = {}
    catalogue = _catalogue_report(whole_catalogue, popularity)
    if slates.groups:
        report |= _slate_report(slates)
        if whole_catalogue.groups:
            report["catalogue"] = catalogue
    else:
        report |= catalogue
    rows = list(zip([*slates.logits, *whole_catalogue.logits], [*slates.labels, *whole_catalogue.labels], strict=True))
    if task == MORE_LIKE_THIS:
        report["auc"] = _pooled(rows, lambda part: metrics.auc(*_join(part)))
    report["ece"] = None if calibration is None else _pooled(rows, lambda part: _ece(task, calibration, *_join(part)))
    return report


def _ece(task: str, calibration: Calibration, logits: Floats, labels: Floats) -> float | None:
    finite = np.isfinite(logits)
    return metrics.ece(calibration.probability(task, logits[finite]), labels[finite])


def _join(rows: Sequence[tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
    return np.concatenate([logits for logits, _ in rows]), np.concatenate([labels for _, labels in rows])


def _pooled(rankings: Sequence[Item], metric: Callable[[Sequence[Item]], float | None]) -> Interval | None:
    """A metric of all rankings together, with a bootstrap 95 % interval over rankings; None if it is undefined."""
    value = metric(rankings) if rankings else None
    if value is None:
        return None
    rng = np.random.default_rng(0)
    draws = (metric([rankings[i] for i in rng.integers(0, len(rankings), len(rankings))]) for _ in range(POOLED_DRAWS))
    low, high = np.percentile([draw for draw in draws if draw is not None], [2.5, 97.5])
    return {"value": value, "low": float(low), "high": float(high)}


def _intervals(ranked: RankingResults, mask: NDArray[np.bool_] | None = None) -> dict[str, object]:
    report: dict[str, object] = {}
    groups = np.array(ranked.groups, dtype=object)
    for name, values in ranked.values.items():
        array = np.array(values)
        kept = np.isfinite(array) if mask is None else np.isfinite(array) & mask
        if kept.any():
            value, low, high = metrics.bootstrap_interval(array[kept], groups[kept].tolist())
            report[name] = {"value": value, "low": low, "high": high}
    report["rankings"] = len(ranked.groups) if mask is None else int(mask.sum())
    return report


def _slate_report(ranked: RankingResults) -> dict[str, object]:
    report = _intervals(ranked)
    names = sorted(frozenset().union(*ranked.slices))
    if names:
        masks = {name: np.array([name in group for group in ranked.slices]) for name in names}
        report["slices"] = {name: _intervals(ranked, mask) for name, mask in masks.items()}
    return report


def _catalogue_report(ranked: RankingResults, popularity: NDArray[np.float64]) -> dict[str, object]:
    report = _intervals(ranked)
    if ranked.tops:
        report["coverage"] = _pooled(ranked.tops, lambda tops: metrics.coverage(tops, len(popularity)))
        novelties = [value for top in ranked.tops if (value := metrics.novelty(top, popularity)) is not None]
        interval = metrics.bootstrap_interval(novelties) if novelties else None
        report["novelty"] = interval and dict(zip(("value", "low", "high"), interval, strict=True))
    return report
