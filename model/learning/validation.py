"""Validation of the ranker under training: chooses the best step and fits the calibration of its logits.

Chooses which rankings of which rows are measured; the metrics are in `evaluation/`.
"""

from __future__ import annotations

import numpy as np

from model.evaluation.network_subject import NetworkSubject
from model.evaluation.protocols import RankingResults, rank_catalogue, rank_slates
from model.events.timelines import LabelledRanking, labelled_rankings, timelines
from model.learning.calibration import Calibration, fit_curve_of_users, liking
from model.learning.training_data import TrainingData, part_rows, rankable
from model.network.catalogue import CatalogueRanker
from model.network.ranker import Ranker
from model.network.scorer import Scorer

LEAST = 1e-3  # NDCG@10 from which a task counts as learned at all


class Validation:
    """Ranks validation rows: a sample for choosing the best step, and the labelled rows for calibration."""

    def __init__(self, data: TrainingData) -> None:
        self.data = data
        events = data.dataset.events
        rows = part_rows(events, ("validation",)) if "validation" not in data.parts else events.clear()
        rows = rows.filter(rows["task"].is_in(data.tasks))
        self.histories = timelines(part_rows(events, data.parts))
        self.every = rankable(labelled_rankings(rows), data.rules)
        self.rankings = self._sample(self.every)

    def _sample(self, rankings: list[LabelledRanking]) -> list[LabelledRanking]:
        """At most `validation_rankings` slates per task; catalogue rankings cost more, so a third of that."""
        maximum = self.data.config.training.validation_rankings
        rng = np.random.default_rng([self.data.config.seed, 2**31 + 1])
        sample: list[LabelledRanking] = []
        for task in self.data.tasks:
            for slate in (True, False):
                group = [u for u in rankings if u.context.task == task and u.slate == slate and (u.labels > 0).any()]
                limit = maximum if slate else maximum // 3
                sample += [group[i] for i in sorted(rng.permutation(len(group))[:limit])]
        return sample

    def results_by_task(self, ranker: Ranker) -> dict[str, tuple[RankingResults, RankingResults]]:
        """Slates and catalogue rankings of each task."""
        subject = subject_of(ranker, self.data)
        result = {}
        for task in self.data.tasks:
            rankings = [ranking for ranking in self.rankings if ranking.context.task == task]
            slates = rank_slates(subject, (u for u in rankings if u.slate), self.histories, lambda: None)
            catalogue = rank_catalogue(subject, (u for u in rankings if not u.slate), self.histories, lambda: None)
            result[task] = (slates, catalogue)
        return result

    def value(self, ranker: Ranker) -> tuple[float | None, dict[str, float]]:
        """Geometric mean of NDCG@10 over tasks, None without rankings; and the value of each (slates, else catalogue).

        A tenth more counts the same in each task: the plain mean would be decided by those with large values.
        """
        values = {}
        for task, (slates, catalogue) in self.results_by_task(ranker).items():
            for label, ranked in (
                (task, slates),
                (task if not slates.groups else f"{task} catalogue", catalogue),
            ):
                if ranked.groups:
                    values[label] = float(np.nanmean(ranked.values["ndcg@10"]))
        main = [value for label, value in values.items() if not label.endswith(" catalogue")]
        return (float(np.exp(np.mean(np.log(np.maximum(main, LEAST))))) if main else None), values

    def calibrate(self, ranker: Ranker) -> Calibration:
        """A curve for each task, fitted on all its labelled validation rows; a line if there are few."""
        subject = subject_of(ranker, self.data)
        columns = {}
        for task in self.data.tasks:
            rankings = (ranking for ranking in self.every if ranking.context.task == task)
            ranked = rank_slates(subject, rankings, self.histories, lambda: None)
            if ranked.logits:
                columns[task] = self._columns(ranked)
        newest = self.data.config.network.profile_length
        curves = {task: fit_curve_of_users(*rows, newest) for task, rows in columns.items()}
        if not columns:
            return Calibration(curves)
        logits, labels, likings = (np.concatenate(column) for column in zip(*columns.values(), strict=True))
        return Calibration(curves, fit_curve_of_users(logits, labels, likings, newest))

    def _columns(self, ranked: RankingResults) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Logit and label of each labelled row, and how its user likes. [R] each"""
        newest = self.data.config.network.profile_length
        likings = [liking(events[-newest:]) for events in ranked.histories]
        rows = [len(logits) for logits in ranked.logits]
        return np.concatenate(ranked.logits), np.concatenate(ranked.labels), np.repeat(likings, rows)


def subject_of(ranker: Ranker, data: TrainingData) -> NetworkSubject:
    """A network over its training catalogue, with vectors computed by its current state, on its device."""
    device = next(ranker.parameters()).device
    scorer = Scorer(ranker, data.contexts(), str(device))
    met = data.tables[-1].popularity > 0
    vectors = scorer.vectors(data.arrays, np.where(met, np.arange(len(met)), -1).tolist())
    records = data.records(-1, vectors)
    return NetworkSubject(CatalogueRanker(scorer, data.ids, data.names, records, data.rules))
