"""What each learned part of one trained network is worth: it is switched off at scoring, nothing is trained again.

A part that costs nothing when it is off is idle: others have learned to do without it. `ablations.py` asks the other
question, what a network learns that never had the part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy

import numpy as np
import torch

from model.evaluation.network_subject import NetworkSubject
from model.evaluation.protocols import RankingResults, Subject, rank_catalogue, rank_slates
from model.events.timelines import LabelledRanking, Timeline
from model.network.catalogue import CatalogueRanker
from model.network.ranker import Ranker
from model.network.scorer import Scorer
from model.studies.comparison import Difference, paired

METRIC = "ndcg@10"
RANKINGS, SLATES = 400, 4_000  # at most, per task; a slate costs little
SwitchOff = Callable[[Ranker], None]


def _zero(*tensors: torch.Tensor) -> None:
    for tensor in tensors:
        tensor.zero_()


PARTS: Mapping[str, SwitchOff] = {
    "learned vectors": lambda ranker: _zero(ranker.from_evidence.weight[:, -1], ranker.task_evidence[:, -1]),
    "task's own first layer": lambda ranker: _zero(ranker.task_evidence),
    "linear part": lambda ranker: _zero(ranker.straight.weight),
}


def worth_of_parts(
    catalogue: CatalogueRanker,
    rankings: Sequence[LabelledRanking],
    histories: Mapping[str, Timeline],
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, dict[str, Difference]]:
    """Part → task → NDCG@10 of the whole network minus that without the part, over the same rankings."""
    chosen = _sample(rankings)
    say("the whole network")
    whole = _results(NetworkSubject(catalogue), chosen, histories)
    worth: dict[str, dict[str, Difference]] = {}
    for part, switch_off in PARTS.items():
        say(f"without: {part}")
        without = _results(NetworkSubject(_without(catalogue, switch_off)), chosen, histories)
        worth[part] = {task: _difference(whole[task], without[task]) for task in whole}
    return worth


def _sample(rankings: Sequence[LabelledRanking]) -> dict[str, list[LabelledRanking]]:
    """Task → some rankings with a positive: slates where the task has any, else those of the whole catalogue."""
    groups: dict[str, list[LabelledRanking]] = {}
    for task in sorted({ranking.context.task for ranking in rankings}):
        own = [u for u in rankings if u.context.task == task and (u.labels > 0).any()]
        slates = [ranking for ranking in own if ranking.slate]
        own, most = (slates, SLATES) if slates else (own, RANKINGS)
        kept = np.sort(np.random.default_rng(0).permutation(len(own))[:most])
        groups[task] = [own[place] for place in kept]
    return {task: group for task, group in groups.items() if group}


def _results(
    subject: Subject, groups: Mapping[str, Sequence[LabelledRanking]], histories: Mapping[str, Timeline]
) -> dict[str, RankingResults]:
    protocols = {task: rank_slates if group[0].slate else rank_catalogue for task, group in groups.items()}
    return {task: protocols[task](subject, group, histories, lambda: None) for task, group in groups.items()}


def _difference(whole: RankingResults, without: RankingResults) -> Difference:
    ours, theirs = (np.array(result.values[METRIC]) for result in (whole, without))
    return paired(ours, theirs, whole.groups)


def _without(catalogue: CatalogueRanker, switch_off: SwitchOff) -> CatalogueRanker:
    """The catalogue, ranked by a copy of its network without one part."""
    ranker = deepcopy(catalogue.scorer.ranker)
    with torch.no_grad():
        switch_off(ranker)
    scorer = Scorer(ranker, catalogue.scorer.contexts)
    return CatalogueRanker(scorer, catalogue.ids, catalogue.names, catalogue.records, catalogue.rules, catalogue.rows)
