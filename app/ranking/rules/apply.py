"""Turns scores into an order by a fixed sequence of rules, one function each. Scores nothing.

1. by score: the best logit first, ties in the given order, candidates without a logit last
2. demoted (seen) entities come after those that the user has not seen (`seen.py`)
3. entities that are not in the catalogue come last, or are dropped

Excluded and dropped entities have already been removed from the candidates (`app/ranking/candidates.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from app.entities.store import CACHE_UNAVAILABLE
from app.ranking.ordering import by_score, demoted_last
from app.ranking.rules.seen import SEEN_LIMIT
from app.ranking.types import OrderedCandidates, ScoredCandidates

Rule = Callable[[OrderedCandidates], OrderedCandidates]


def apply_rules(scored: ScoredCandidates) -> OrderedCandidates:
    """ScoredCandidates → OrderedCandidates."""
    ordered = _unordered(scored)
    for rule in RULES:
        ordered = rule(ordered)
    return ordered


def _unordered(scored: ScoredCandidates) -> OrderedCandidates:
    records, candidates = scored.records, scored.records.candidates
    request, seen = candidates.imputed.request, candidates.imputed.seen
    return OrderedCandidates(
        request,
        candidates.imputed.filled,
        records.entity_ids,
        scored.logits,
        unknown=records.gathered.unknown,
        degraded=[CACHE_UNAVAILABLE] * records.gathered.degraded + [SEEN_LIMIT] * seen.cut + scored.degraded,
        requested=len(candidates.entity_ids),
        scored=int(np.isfinite(scored.logits).sum()),
        demoted=candidates.demoted,
    )


def _by_score(ordered: OrderedCandidates) -> OrderedCandidates:
    return _reorder(ordered, by_score(ordered.logits))


def _demote_seen(ordered: OrderedCandidates) -> OrderedCandidates:
    if not ordered.demoted:
        return ordered
    return _reorder(ordered, demoted_last(ordered.entity_ids, ordered.logits, ordered.demoted))


def _unknown_last(ordered: OrderedCandidates) -> OrderedCandidates:
    if not ordered.unknown or ordered.request.unknown == "drop":
        return ordered
    without_logit = np.full(len(ordered.unknown), np.nan, np.float32)
    logits = np.concatenate([ordered.logits, without_logit])
    return replace(ordered, entity_ids=[*ordered.entity_ids, *ordered.unknown], logits=logits)


RULES: tuple[Rule, ...] = (_by_score, _demote_seen, _unknown_last)


def _reorder(ordered: OrderedCandidates, places: Sequence[int]) -> OrderedCandidates:
    entity_ids = list(map(ordered.entity_ids.__getitem__, places))
    return replace(ordered, entity_ids=entity_ids, logits=ordered.logits[places])
