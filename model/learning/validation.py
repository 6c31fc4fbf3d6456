"""Validation of the ranker under training: which step is the best, and how its logits become probabilities.

What is measured is in `evaluation/`; here is which rankings of which rows.
"""

from __future__ import annotations

import numpy as np

from model.evaluation.network_subject import NetworkSubject
from model.evaluation.protocols import RankingResults, rank_catalogue, rank_slates
from model.events.timelines import LabelledRanking, labelled_rankings, timelines
from model.learning.calibration import Calibration, fit_curve
from model.learning.training_data import TrainingData, part_rows, rankable
from model.network.catalogue import CatalogueRanker
from model.network.ranker import Ranker
from model.network.scorer import Scorer


class Validation:
    """Ranks validation rows: a sample for choosing the best step, and the labelled rows for calibration."""

    def __init__(self, prepared: TrainingData) -> None:
        self.prepared = prepared
        events = prepared.dataset.events
        held = part_rows(events, ("validation",)) if "validation" not in prepared.parts else events.clear()
        held = held.filter(held["task"].is_in(prepared.tasks))
        self.histories = timelines(part_rows(events, prepared.parts))
        self.every = rankable(labelled_rankings(held), prepared.rules)
        self.rankings = self._sample(self.every)

    def _sample(self, every: list[LabelledRanking]) -> list[LabelledRanking]:
        """At most `validation_rankings` slates a task; catalogue rankings cost more, so a third of that."""
        most = self.prepared.config.training.validation_rankings
        rng = np.random.default_rng([self.prepared.config.seed, 2**31 + 1])
        chosen: list[LabelledRanking] = []
        for task in self.prepared.tasks:
            for slate in (True, False):
                group = [u for u in every if u.context.task == task and u.slate == slate and (u.labels > 0).any()]
                limit = most if slate else most // 3
                chosen += [group[i] for i in sorted(rng.permutation(len(group))[:limit])]
        return chosen

    def results_by_task(self, ranker: Ranker) -> dict[str, tuple[RankingResults, RankingResults]]:
        """Slates and catalogue rankings of each task."""
        subject = subject_of(ranker, self.prepared)
        result = {}
        for task in self.prepared.tasks:
            mine = [ranking for ranking in self.rankings if ranking.context.task == task]
            slates = rank_slates(subject, (u for u in mine if u.slate), self.histories, lambda: None)
            whole = rank_catalogue(subject, (u for u in mine if not u.slate), self.histories, lambda: None)
            result[task] = (slates, whole)
        return result

    def value(self, ranker: Ranker) -> tuple[float | None, dict[str, float]]:
        """Mean over tasks of NDCG@10, None without rankings; and each task's own (of slates, else of the catalogue)."""
        values = {}
        for task, (slates, whole) in self.results_by_task(ranker).items():
            for label, ranked in (
                (task, slates),
                (task if not slates.groups else f"{task} catalogue", whole),
            ):
                if ranked.groups:
                    values[label] = float(np.nanmean(ranked.values["ndcg@10"]))
        main = [value for label, value in values.items() if not label.endswith(" catalogue")]
        return (float(np.mean(main)) if main else None), values

    def calibrate(self, ranker: Ranker) -> Calibration:
        """A curve for each task on all its labelled validation rows; a line where there are few."""
        subject = subject_of(ranker, self.prepared)
        curves = {}
        for task in self.prepared.tasks:
            mine = (ranking for ranking in self.every if ranking.context.task == task)
            ranked = rank_slates(subject, mine, self.histories, lambda: None)
            if ranked.logits:
                curves[task] = fit_curve(np.concatenate(ranked.logits), np.concatenate(ranked.labels))
        return Calibration(curves)


def subject_of(ranker: Ranker, prepared: TrainingData) -> NetworkSubject:
    """A network over the catalogue that it trains on, with vectors as they are now, on the device where it is."""
    device = next(ranker.parameters()).device
    scorer = Scorer(ranker, prepared.contexts(), str(device))
    vectors = scorer.vectors(prepared.arrays, range(len(prepared.ids)))
    records = prepared.records(-1, vectors)
    return NetworkSubject(CatalogueRanker(scorer, prepared.ids, prepared.names, records, prepared.rules))
