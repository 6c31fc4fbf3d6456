"""Evaluates a model on the rows of a dataset: the protocol, not the metrics themselves (`metrics.py`).

The rows of a judged slate are ranked among themselves. Everything else is ranked against the whole catalogue, by
the ranker itself, without the entities of the user's history; `homepage` always is. `PROTOCOLS` lists both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from model.context.context import MORE_LIKE_THIS, Context, HistoryEvent
from model.evaluation import metrics
from model.events.timelines import LabelledRanking, Timeline
from model.learning.calibration import Calibration

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Step = Callable[[], None]
Interval = dict[str, float]  # value, low, high
Item = TypeVar("Item")
# A ranking with what its metrics see: catalogue rows [C], scores [C] and labels [C] of its candidates
Watch = Callable[[LabelledRanking, Ints, Floats, Floats], None]
POOLED_DRAWS = 200
SLATES, CATALOGUE = "slates", "catalogue"


class Subject(Protocol):
    """A model that can be evaluated: it gives each row of a catalogue a score in a context."""

    @property
    def rows(self) -> Mapping[str, int]:
        """Entity id → row."""

    def score(self, context: Context, rows: Ints | None) -> Floats:
        """Scores of the given rows, or of the whole catalogue."""


@dataclass(slots=True)
class RankingResults:
    """The rankings of one task under one protocol: values by metric, and the labelled rows for auc and ece, with the
    history that each ranking was made for.
    """

    values: dict[str, list[float]] = field(default_factory=dict)
    groups: list[str] = field(default_factory=list)
    slices: list[frozenset[str]] = field(default_factory=list)
    tops: list[Ints] = field(default_factory=list)
    logits: list[Floats] = field(default_factory=list)
    labels: list[Floats] = field(default_factory=list)
    histories: list[Sequence[HistoryEvent]] = field(default_factory=list)

    def add_rows(self, logits: Floats, labels: Floats, history: Sequence[HistoryEvent]) -> None:
        """Add the labelled rows [R] of one ranking."""
        self.logits.append(logits)
        self.labels.append(labels)
        self.histories.append(history)

    def probabilities(self, task: str, calibration: Calibration) -> list[Floats]:
        """Calibrated probabilities of the labelled rows of each ranking. [R]"""
        rows = zip(self.logits, self.histories, strict=True)
        return [calibration.probability(task, logits, history) for logits, history in rows]

    def add(self, ranking: LabelledRanking, number: int, **values: float | None) -> None:
        """Add one ranking. A metric that is undefined for it is NaN."""
        for name, value in values.items():
            self.values.setdefault(name, []).append(np.nan if value is None else value)
        self.groups.append(ranking.context.user_id or f"ranking {number}")
        self.slices.append(ranking.slices)


def _unwatched(*_: object) -> None:
    pass


def evaluate(
    subject: Subject,
    rankings: Sequence[LabelledRanking],
    histories: Mapping[str, Timeline],
    popularity: NDArray[np.float64],
    calibration: Calibration | None = None,
    step: Step = lambda: None,
    watch: Callable[[str], Watch] = lambda _: _unwatched,
) -> dict[str, dict[str, object]]:
    """Metrics of each task, with bootstrap 95 % intervals; `popularity` [N] counts positives, for novelty.

    `watch` gives, for the name of a protocol, what is called with each ranking that has metrics.
    """
    report = {}
    for task in sorted({ranking.context.task for ranking in rankings}):
        slates, catalogue = (
            protocol.rank(subject, protocol.own(rankings, task), histories, step, watch=watch(protocol.name))
            for protocol in PROTOCOLS
        )
        report[task] = _task_report(task, slates, catalogue, popularity, calibration)
    return report


def history_of(ranking: LabelledRanking, histories: Mapping[str, Timeline]) -> Sequence[HistoryEvent]:
    """The history of the user of a ranking, oldest event first."""
    timeline = histories.get(ranking.context.user_id or "")
    return timeline.events if timeline else ()


def left_out(ranking: LabelledRanking, history: Iterable[HistoryEvent]) -> set[str]:
    """Entities that are no candidates of a catalogue ranking: those of the history, and the source."""
    source = ranking.context.source_entity_id
    return {event.entity_id for event in history} | ({source} if source is not None else set())


def rank_slates(
    subject: Subject,
    rankings: Iterable[LabelledRanking],
    histories: Mapping[str, Timeline],
    step: Step,
    watch: Watch = _unwatched,
) -> RankingResults:
    """Rank the rows of each slate."""
    ranked = RankingResults()
    for number, ranking in enumerate(rankings):
        rows = np.array([subject.rows[entity] for entity in ranking.entity_ids], np.int64)
        history = history_of(ranking, histories)
        scores = subject.score(replace(ranking.context, history=tuple(history)), rows)
        ranked.add(
            ranking,
            number,
            **{"ndcg@10": metrics.ndcg(scores, ranking.labels, 10), "mrr": metrics.mrr(scores, ranking.labels)},
            auc=metrics.auc(scores, ranking.labels),
        )
        ranked.add_rows(scores, ranking.labels, history)
        watch(ranking, rows, scores, ranking.labels)
        step()
    return ranked


def rank_catalogue(
    subject: Subject,
    rankings: Iterable[LabelledRanking],
    histories: Mapping[str, Timeline],
    step: Step,
    met: bool = False,
    watch: Watch = _unwatched,
) -> RankingResults:
    """Rank the whole catalogue for each context, without the source; what the user has met is left out unless `met`."""
    ranked = RankingResults()
    for number, ranking in enumerate(rankings):
        history = history_of(ranking, histories)
        scores = np.array(subject.score(replace(ranking.context, history=tuple(history)), None), np.float64)
        rows = np.array([subject.rows[entity] for entity in ranking.entity_ids], np.int64)
        ranked.add_rows(scores[rows], ranking.labels, history)
        labels = np.zeros(len(scores))
        np.maximum.at(labels, rows, ranking.labels)
        allowed = np.ones(len(scores), bool)
        absent = left_out(ranking, () if met else history)
        allowed[[subject.rows[entity] for entity in absent if entity in subject.rows]] = False
        kept = np.flatnonzero(allowed)
        if (labels[kept] > 0).any():
            _add_catalogue(ranked, ranking, number, scores[kept], labels[kept], kept)
            watch(ranking, kept, scores[kept], labels[kept])
        step()
    return ranked


def _add_catalogue(
    ranked: RankingResults, ranking: LabelledRanking, number: int, scores: Floats, labels: Floats, rows: Ints
) -> None:
    values = {
        "ndcg@10": metrics.ndcg(scores, labels, 10),
        **{f"recall@{k}": metrics.recall(scores, labels, k) for k in (1, 10, 30)},
    }
    ranked.add(ranking, number, **values)
    ranked.tops.append(rows[metrics.top_k(scores, 10)])


class Rank(Protocol):
    """A function that ranks the candidates of each ranking and measures the order."""

    def __call__(
        self,
        subject: Subject,
        rankings: Iterable[LabelledRanking],
        histories: Mapping[str, Timeline],
        step: Step,
        *,
        watch: Watch = ...,
    ) -> RankingResults:
        """The results of one task; `watch` is called with each ranking that has metrics."""


@dataclass(frozen=True, slots=True)
class EvaluationProtocol:
    """A way to rank, by name. `slates`: it takes judged slates; else it takes all other rankings."""

    name: str
    rank: Rank
    slates: bool

    def own(self, rankings: Iterable[LabelledRanking], task: str) -> list[LabelledRanking]:
        """The rankings of a task that it takes."""
        return [ranking for ranking in rankings if ranking.context.task == task and ranking.slate == self.slates]


PROTOCOLS = (
    EvaluationProtocol(SLATES, rank_slates, slates=True),
    EvaluationProtocol(CATALOGUE, rank_catalogue, slates=False),
)


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
    both = (slates, whole_catalogue)
    if task == MORE_LIKE_THIS:
        scores = [pair for ranked in both for pair in zip(ranked.logits, ranked.labels, strict=True)]
        report["auc"] = _pooled(scores, lambda part: metrics.auc(*_join(part)))
    report["ece"] = None
    if calibration is not None:
        stated = [pair for r in both for pair in zip(r.probabilities(task, calibration), r.labels, strict=True)]
        report["ece"] = _pooled(stated, lambda part: _ece(*_join(part)))
    return report


def _ece(probabilities: Floats, labels: Floats) -> float | None:
    finite = np.isfinite(probabilities)
    return metrics.ece(probabilities[finite], labels[finite])


def _join(rows: Sequence[tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
    return np.concatenate([values for values, _ in rows]), np.concatenate([labels for _, labels in rows])


def _pooled(rankings: Sequence[Item], metric: Callable[[Sequence[Item]], float | None]) -> Interval | None:
    """A metric of all rankings together, with a bootstrap 95 % interval over rankings; None if it is undefined."""
    value = metric(rankings) if rankings else None
    if value is None:
        return None
    rng = np.random.default_rng(0)
    draws = (metric([rankings[i] for i in rng.integers(0, len(rankings), len(rankings))]) for _ in range(POOLED_DRAWS))
    low, high = np.percentile([draw for draw in draws if draw is not None], [2.5, 97.5])
    return {"value": value, "low": float(low), "high": float(high)}


def intervals(ranked: RankingResults, mask: NDArray[np.bool_] | None = None) -> dict[str, object]:
    """The mean of each metric with its 95 % interval, and the number of rankings; `mask` [R] selects some."""
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
    report = intervals(ranked)
    names = sorted(frozenset().union(*ranked.slices))
    if names:
        masks = {name: np.array([name in group for group in ranked.slices]) for name in names}
        report["slices"] = {name: intervals(ranked, mask) for name, mask in masks.items()}
    return report


def _catalogue_report(ranked: RankingResults, popularity: NDArray[np.float64]) -> dict[str, object]:
    report = intervals(ranked)
    if ranked.tops:
        report["coverage"] = _pooled(ranked.tops, lambda tops: metrics.coverage(tops, len(popularity)))
        novelties = [value for top in ranked.tops if (value := metrics.novelty(top, popularity)) is not None]
        interval = metrics.bootstrap_interval(novelties) if novelties else None
        report["novelty"] = interval and dict(zip(("value", "low", "high"), interval, strict=True))
    return report
