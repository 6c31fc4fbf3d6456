"""Learns the share of each retriever in the proposals of a task, on validation rows. Ranks nothing itself.

The ranker would put some relevant entities on the first page if it could score the whole catalogue. The shares are
those that keep most of these among the proposals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from model.artefact.model import Artefact
from model.evaluation.metrics import top_k
from model.evaluation.protocols import history_of, left_out
from model.events.timelines import LabelledRanking, Timeline
from model.retrieval.retrievers import RetrievalRequest, merge

Ints = NDArray[np.int64]
Say = Callable[[str], None]
FIRST_PAGE = 30
LIMITS = (100, 250, 500)  # numbers of proposals
RANKINGS = 80  # at most, per task
UNITS = 5  # shares are multiples of a fifth
TITLE_SHARE = 4.0  # of a row with a title; training and validation logs rarely have any


@dataclass(frozen=True, slots=True)
class _Case:
    """One validation ranking: the proposals of each retriever, and the relevant rows on the first page."""

    lists: Mapping[str, Ints]
    hits: Ints


def learn_shares(
    artefact: Artefact,
    rankings: Sequence[LabelledRanking],
    histories: Mapping[str, Timeline],
    say: Say = lambda _: None,
) -> dict[str, dict[str, float]]:
    """Task → retriever → share. A task without a validation ranking is left out: its retrievers share evenly."""
    shares = {}
    for task in sorted({ranking.context.task for ranking in rankings}):
        say(f"proposals for {task}")
        own = [ranking for ranking in rankings if ranking.context.task == task and (ranking.labels > 0).any()]
        cases = [case for ranking in own[:RANKINGS] if len((case := _case(artefact, ranking, histories)).hits)]
        if cases:
            shares[task] = _best(cases) | {"title": TITLE_SHARE}
    return shares


def _case(artefact: Artefact, ranking: LabelledRanking, histories: Mapping[str, Timeline]) -> _Case:
    history = history_of(ranking, histories)
    context = replace(ranking.context, history=tuple(history))
    encoded = artefact.encode_context(artefact.fill(context))
    excluded = {row for row in artefact.find(list(left_out(ranking, history))).tolist() if row >= 0}
    scores = artefact.catalogue.logits(encoded)
    scores[list(excluded)] = -np.inf
    page = top_k(scores, FIRST_PAGE)
    relevant = artefact.find([e for e, label in zip(ranking.entity_ids, ranking.labels, strict=True) if label > 0])
    request = RetrievalRequest(encoded, max(LIMITS), excluded)
    return _Case(artefact.retriever.lists(request), np.intersect1d(page, relevant))


def _best(cases: Sequence[_Case]) -> dict[str, float]:
    """The shares that keep most hits; of equal ones, the most even."""
    names = sorted({name for case in cases for name, rows in case.lists.items() if len(rows)})
    candidates = sorted(_grid(len(names)), key=lambda shares: (max(shares), shares))
    kept = [np.mean([_kept(case, dict(zip(names, shares, strict=True))) for case in cases]) for shares in candidates]
    return dict(zip(names, candidates[int(np.argmax(kept))], strict=True))


def _grid(count: int) -> Iterator[tuple[float, ...]]:
    """All shares of `count` retrievers in multiples of 1 / `UNITS` that sum to 1."""
    for units in product(range(UNITS + 1), repeat=count):
        if sum(units) == UNITS:
            yield tuple(unit / UNITS for unit in units)


def _kept(case: _Case, shares: Mapping[str, float]) -> float:
    """The share of hits among the proposals, mean over `LIMITS`."""
    merged = merge({name: rows for name, rows in case.lists.items() if shares.get(name, 0) > 0}, shares)
    return float(np.mean([np.isin(case.hits, merged[:limit]).mean() for limit in LIMITS]))
