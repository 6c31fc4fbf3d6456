"""Checks an evaluation before its figures are believed: rankers with a known result, on the rows under test.

An oracle, a reversed oracle, a ranker whose scores are all equal and a random one pass through the functions that rank
the model. What they should get is computed here from the labels alone, without these functions. Measures no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log2
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.context.context import Context
from model.evaluation.protocols import PROTOCOLS, SLATES, EvaluationProtocol, RankingResults, history_of, left_out
from model.events.timelines import LabelledRanking, Timeline

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
MOST_RANKINGS = 200  # of each task and protocol
CELLS = 3_000_000  # scores of one ranker; large catalogues are checked on fewer rankings, but at least ten
TOLERANCE = 1e-9
RANKERS = (("an oracle", 1.0), ("a reversed oracle", -1.0), ("a constant ranker", 0.0))
DEVIATIONS, OUTLIERS = 6.0, 4.0  # how far chance may go: standard deviations, and rankings for rare hits


class Field(NamedTuple):
    """What a ranking is about: number of candidates, and the labels of the positive ones, highest first. [P]"""

    candidates: int
    gains: Floats


@dataclass(frozen=True, slots=True)
class _Known:
    """A ranker of one ranking, whose scores do not depend on a model: `sign` · label, or random without a sign."""

    rows: Mapping[str, int]
    ranking: LabelledRanking
    sign: float | None
    random: np.random.Generator

    def score(self, context: Context, rows: Ints | None) -> Floats:
        """Scores of the given rows, or of the whole catalogue."""
        labels = np.zeros(len(self.rows))
        np.maximum.at(labels, [self.rows[entity] for entity in self.ranking.entity_ids], self.ranking.labels)
        scores = self.random.random(len(labels)) if self.sign is None else self.sign * labels
        return scores if rows is None else scores[rows]


def check_evaluation(
    rows: Mapping[str, int], rankings: Sequence[LabelledRanking], histories: Mapping[str, Timeline]
) -> None:
    """Raise ValueError, one line, if a ranker whose result is known gets another. `rows`: entity id → row."""
    for task in sorted({ranking.context.task for ranking in rankings}):
        for protocol in PROTOCOLS:
            sample = _sample(_with_field(protocol, protocol.own(rankings, task), rows, histories), len(rows))
            if sample:
                _check(task, protocol, sample, rows, histories)


def _with_field(
    protocol: EvaluationProtocol,
    rankings: Sequence[LabelledRanking],
    rows: Mapping[str, int],
    histories: Mapping[str, Timeline],
) -> list[tuple[LabelledRanking, Field]]:
    """Rankings with a positive candidate. Slates that show an entity twice are left out: no score divides the two."""
    field = _slate_field if protocol.name == SLATES else _catalogue_field
    distinct = [r for r in rankings if not r.slate or len(set(r.entity_ids)) == len(r.entity_ids)]
    both = [(ranking, field(ranking, rows, histories)) for ranking in distinct]
    return [(ranking, known) for ranking, known in both if known.gains.size]


def _slate_field(ranking: LabelledRanking, *_: object) -> Field:
    return Field(len(ranking.labels), np.sort(ranking.labels[ranking.labels > 0])[::-1])


def _catalogue_field(ranking: LabelledRanking, rows: Mapping[str, int], histories: Mapping[str, Timeline]) -> Field:
    met = left_out(ranking, history_of(ranking, histories))
    best: dict[str, float] = {}
    for entity, label in zip(ranking.entity_ids, ranking.labels.tolist(), strict=True):
        best[entity] = max(label, best.get(entity, 0.0))
    gains = [label for entity, label in best.items() if label > 0 and entity not in met]
    return Field(len(rows) - sum(entity in rows for entity in met), np.array(sorted(gains, reverse=True)))


def _sample(rankings: Sequence[tuple[LabelledRanking, Field]], entities: int) -> list[tuple[LabelledRanking, Field]]:
    count = min(MOST_RANKINGS, max(10, CELLS // max(entities, 1)), len(rankings))
    chosen = np.random.default_rng(0).permutation(len(rankings))[:count]
    return [rankings[place] for place in sorted(chosen)]


def _check(
    task: str,
    protocol: EvaluationProtocol,
    sample: Sequence[tuple[LabelledRanking, Field]],
    rows: Mapping[str, int],
    histories: Mapping[str, Timeline],
) -> None:
    fields, random = [field for _, field in sample], np.random.default_rng(0)
    where = f"evaluation of task '{task}', protocol {protocol.name}"

    def values(sign: float | None) -> Mapping[str, Floats]:
        ranked = RankingResults()
        for ranking, _ in sample:
            one = protocol.rank(_Known(rows, ranking, sign, random), [ranking], histories, lambda: None).values
            ranked.add(ranking, 0, **{name: column[0] for name, column in one.items()})
        return {name: np.array(column) for name, column in ranked.values.items()}

    for ranker, sign in RANKERS:
        for name, found in values(sign).items():
            _check_each(f"{where}: {name} of {ranker}", found, [_expected(name, field, sign) for field in fields])
    for name, found in values(None).items():
        if name == "auc" or name.startswith("recall@"):
            _check_chance(f"{where}: {name} of a random ranker", found, [_chance(name, field) for field in fields])


def _check_each(what: str, found: Floats, expected: Sequence[float]) -> None:
    gaps = np.abs(found - expected)
    if not (gaps <= TOLERANCE).all():  # also where a gap is not a number
        place = int(np.nanargmax(np.where(np.isnan(gaps), np.inf, gaps)))
        raise ValueError(f"{what}: expected {expected[place]:.6f}, found {found[place]:.6f}")


def _check_chance(what: str, found: Floats, expected: Sequence[tuple[float, float]]) -> None:
    mean, variance = np.mean(expected, axis=0)
    allowed = DEVIATIONS * np.sqrt(variance / len(found)) + OUTLIERS / len(found)
    if not abs(found.mean() - mean) <= allowed:
        raise ValueError(f"{what}: expected {mean:.4f} ± {allowed:.4f}, found {found.mean():.4f}")


# ── what is to be expected ──────────────────────────────────────────────────────────────────────────────────


def _expected(name: str, field: Field, sign: float) -> float:
    """A metric of the ranker that scores `sign` · label. Where all scores are equal, ties count against it."""
    others = np.zeros(field.candidates - field.gains.size)
    labels: Floats = np.concatenate([field.gains, others] if sign > 0 else [others, field.gains[::-1]])
    metric, _, cut = name.partition("@")
    if metric == "auc":
        return (1 + sign) / 2
    if metric == "mrr":
        return float(1 / (1 + np.argmax(labels > 0)))
    if metric == "recall":
        return float((labels[: int(cut)] > 0).sum() / field.gains.size)
    return _gain(labels.tolist(), int(cut)) / _gain(field.gains.tolist(), int(cut))


def _gain(labels: Sequence[float], cut: int) -> float:
    """Discounted cumulative gain of labels in order."""
    return sum(label / log2(rank + 1) for rank, label in enumerate(labels[:cut], 1))


def _chance(name: str, field: Field) -> tuple[float, float]:
    """Mean and variance of AUC (Mann and Whitney 1947) or Recall@k (hypergeometric) under a random order."""
    count, positives = field.candidates, field.gains.size
    if name == "auc":
        return 0.5, (count + 1) / (12 * positives * max(count - positives, 1))
    share = min(1.0, int(name.partition("@")[2]) / count)
    return share, share * (1 - share) * (count - positives) / (max(count - 1, 1) * positives)
