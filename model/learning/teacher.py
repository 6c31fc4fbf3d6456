"""The teacher of judged slates: boosted trees on the match features, out of fold. Neither trains the network nor draws.

Labels of a slate are few, binary, and sometimes wrong. Trees fitted to other queries score each row, and a network
that learns from scores and labels orders slates better than from labels alone (decision 6).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from model.baselines.lambdamart import LambdaMART, Slates
from model.events.engagement import fold_of
from model.events.timelines import LabelledRanking
from model.text.normalise import normalise

Floats = NDArray[np.float32]
Match = Callable[[LabelledRanking], Floats]  # match features [C, F] of all rows of a ranking, as of its time
Say = Callable[[str], None]
FOLDS = 5
FEWEST = 500  # slates of a task; with fewer, trees learn no more than the network itself
LEAVES, RATE, ROUNDS = 31, 0.06, 250  # chosen on validation for LambdaMART on the same features
NOT_INSTALLED = (
    "boosted trees are not installed: judged slates learn from labels alone (pip install 'unirank[teacher]')"
)


def taught(
    rankings: Sequence[LabelledRanking], match: Match, seed: int, say: Say = lambda _: None
) -> list[LabelledRanking]:
    """The rankings; slates of tasks with enough of them get scores by trees that were fitted to other queries.

    Without LightGBM they are returned unchanged, and `say` reports that once.
    """
    result = list(rankings)
    tasks = _taught_tasks(rankings)
    if tasks and find_spec("lightgbm") is None:
        say(NOT_INSTALLED)
        return result
    for task, places in tasks.items():
        say(f"trees that teach {task}")
        slates = [rankings[place] for place in places]
        for place, ranking, scores in zip(places, slates, _out_of_fold(slates, match, seed), strict=True):
            result[place] = replace(ranking, taught=scores)
    return result


def _taught_tasks(rankings: Sequence[LabelledRanking]) -> dict[str, list[int]]:
    """Task → indices of its slates, in order of name, for tasks with enough slates."""
    places: dict[str, list[int]] = {}
    for place, ranking in enumerate(rankings):
        if ranking.slate:
            places.setdefault(ranking.context.task, []).append(place)
    return {task: places[task] for task in sorted(places) if len(places[task]) >= FEWEST}


def _out_of_fold(slates: Sequence[LabelledRanking], match: Match, seed: int) -> list[Floats]:
    """Scores of the rows of each slate by trees that never saw its query."""
    features = [match(ranking) for ranking in slates]
    folds = np.array(
        [fold_of(normalise(ranking.context.query or "") or str(n), FOLDS) for n, ranking in enumerate(slates)]
    )
    scores: list[Floats] = [np.zeros(0, np.float32)] * len(slates)
    for fold in np.unique(folds):
        trees = LambdaMART(LEAVES, RATE, ROUNDS, seed=seed)
        trees.fit(_join([(slates[n], features[n]) for n in np.flatnonzero(folds != fold).tolist()]))
        for n in np.flatnonzero(folds == fold).tolist():
            scores[n] = trees.scores(features[n]).astype(np.float32)
    return scores


def _join(slates: Sequence[tuple[LabelledRanking, Floats]]) -> Slates:
    labels = np.concatenate([ranking.labels for ranking, _ in slates]).astype(np.float32)
    sizes = np.array([len(ranking.labels) for ranking, _ in slates], np.int64)
    return np.concatenate([features for _, features in slates]), labels, sizes


def targets(labels: Floats, scores: Floats, share: float) -> Floats:
    """Targets of the softmax over a slate: `share` from the teacher's scores, the rest from the labels. [C], sums to 1

    >>> targets(np.array([1, 0], np.float32), np.zeros(2, np.float32), 0.5).tolist()
    [0.75, 0.25]
    """
    positive = np.maximum(labels, 0)
    taught = np.exp(scores - scores.max())
    mixed = (1 - share) * positive / max(float(positive.sum()), 1e-9) + share * taught / taught.sum()
    return np.asarray(mixed, np.float32)
