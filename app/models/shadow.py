"""The shadow: a model that answers some requests after the live one has, unseen, to be compared. Changes no answer.

It ranks the candidates that the live model ranked, at most one comparison at a time, so that it can delay others by
one ranking and no more. What it finds goes to three histograms; nothing of it reaches the caller.
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from app.execution.admission import Priority
from app.models.serving_state import Serving
from app.observability.metrics import Clock, Telemetry
from app.ranking.model import RankingModel
from app.ranking.scoring import DEADLINE
from app.ranking.types import OrderedCandidates

_log = logging.getLogger("unirank")
TOP = 10
_MOST = 200  # places that the rank correlation looks at


class Shadow:
    """Compares `serving` with what was answered, on a `share` of the rankings. None = there is no shadow now."""

    def __init__(self, telemetry: Telemetry, clock: Clock, share: float, patience_s: float) -> None:
        self.serving: Serving | None = None
        self._telemetry = telemetry
        self._clock = clock
        self._share = share
        self._patience_s = patience_s
        self._task: asyncio.Task[None] | None = None

    def saw(self, model: RankingModel, answered: OrderedCandidates) -> None:
        """Told of every ranking; starts a comparison at times."""
        idle = self._task is None or self._task.done()
        whole = bool(answered.entity_ids) and DEADLINE not in answered.degraded
        if self.serving is not None and idle and whole and random.random() < self._share:
            self._task = asyncio.create_task(self._compare(self.serving, model, answered))

    async def settle(self) -> None:
        """Wait for the comparison under way."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _compare(self, serving: Serving, model: RankingModel, answered: OrderedCandidates) -> None:
        serving.under_way += 1
        try:
            same = replace(
                answered.request, candidates=answered.entity_ids, deadline=self._clock() + self._patience_s,
                exclude=frozenset(), seen="keep", unknown="last", priority=Priority.LOW,
            )  # fmt: skip
            other = await serving.service.order(same)
            if DEADLINE in other.degraded:
                raise TimeoutError("the shadow ran out of time: what it did not score compares with nothing")
            self._note(serving.service.model, model, answered, other)
        except Exception as error:
            self._telemetry.shadow_failed.inc()
            _log.warning("the shadow could not rank: %s", type(error).__name__)
        finally:
            serving.under_way -= 1

    def _note(
        self, shadow: RankingModel, model: RankingModel, answered: OrderedCandidates, other: OrderedCandidates
    ) -> None:
        task = answered.request.context.task
        telemetry = self._telemetry
        telemetry.shadow_overlap.labels(task).observe(overlap(answered.entity_ids, other.entity_ids, TOP))
        telemetry.shadow_tau.labels(task).observe(kendall_tau(answered.entity_ids[:_MOST], other.entity_ids))
        places = {entity_id: place for place, entity_id in enumerate(other.entity_ids)}
        matched = other.logits[[places[entity_id] for entity_id in answered.entity_ids]]
        drift = np.abs(shadow.probability(task, matched) - model.probability(task, answered.logits))
        if np.isfinite(drift).any():
            telemetry.shadow_drift.labels(task).observe(float(np.nanmean(drift)))


def overlap(one: list[str], other: list[str], count: int) -> float:
    """Share of the first `count` that both have.

    >>> overlap(["a", "b", "c"], ["b", "d", "a"], 2)
    0.5
    """
    return len(set(one[:count]) & set(other[:count])) / max(1, min(count, len(one)))


def kendall_tau(one: list[str], other: list[str]) -> float:
    """Kendall's τ between the order of `one` and that of the same ids in `other`: 1 = same, −1 = reversed.

    >>> kendall_tau(["a", "b", "c"], ["a", "c", "b"])
    0.3333333333333333
    """
    places = {entity_id: place for place, entity_id in enumerate(other)}
    ranks: NDArray[np.int64] = np.array([places[entity_id] for entity_id in one], np.int64)
    count = len(ranks)
    if count < 2:
        return 1.0
    later = np.sign(ranks[None, :] - ranks[:, None])[np.triu_indices(count, 1)]
    return float(later.sum() / (count * (count - 1) / 2))
