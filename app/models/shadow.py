"""The shadow model: ranks some requests again after the live one has, to be compared with it. Changes no answer.

It ranks the candidates that the live model ranked, at most one comparison at a time, so that it can delay others by
one ranking and no more. What it finds goes to three metrics; nothing of it reaches the caller.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from app.execution.admission import Priority
from app.models.loaded_models import LoadedModels
from app.models.served_model import ServedModel
from app.models.serving_state import ServingState
from app.models.stamps import Stamp
from app.ranking.model import RankingModel
from app.ranking.scoring import DEADLINE
from app.ranking.types import OrderedCandidates

_log = logging.getLogger("unirank")
TOP = 10
_MAX_PLACES = 200  # of the live model's order, for the rank correlation


class Shadow:
    """Compares `serving` with the live model, on a share of the rankings. None = there is no shadow model now."""

    def __init__(self, live: ServingState) -> None:
        self.serving: ServedModel | None = None
        self._state = live
        self._stamp: Stamp | None = None
        self._task: asyncio.Task[None] | None = None

    async def follow(self, stamp: Stamp | None, loaded: LoadedModels) -> None:
        """Load the model of that stamp, drop any other; None = no shadow model. One that may not serve is left out
        until it is tried again."""
        if stamp == self._stamp:
            return
        before, self.serving, self._stamp = self.serving, None, None
        if before is not None:
            loaded.retire(before)
        if stamp is None or loaded.refusals.waits(stamp):
            return
        with contextlib.suppress(Exception):  # the reason is in the log and in the list
            self.serving = await loaded.load_shadow(stamp)
            self._stamp = stamp
            _log.info("model %s is the shadow", self.serving.version)

    def on_order(self, model: RankingModel, answered: OrderedCandidates) -> None:
        """Called with every order; starts a comparison at times. Orders of a challenger are not compared."""
        if self._state.serving is None or model is not self._state.serving.service.model:
            return
        idle = self._task is None or self._task.done()
        whole = bool(answered.entity_ids) and DEADLINE not in answered.degraded
        if self.serving is not None and idle and whole and random.random() < self._state.settings.shadow_share:
            self._task = asyncio.create_task(self._compare(self.serving, model, answered))

    async def close(self) -> None:
        """Wait for the comparison under way, then close the shadow model."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        if self.serving is not None:
            await self.serving.store.close()

    async def _compare(self, serving: ServedModel, model: RankingModel, answered: OrderedCandidates) -> None:
        deadline = self._state.clock() + self._state.settings.timeout_ms / 1000
        serving.under_way += 1
        try:
            same = replace(
                answered.request, candidates=answered.entity_ids, deadline=deadline,
                exclude=frozenset(), seen="keep", unknown="last", priority=Priority.LOW,
            )  # fmt: skip
            other = await serving.service.order(same)
            if DEADLINE in other.degraded:
                raise TimeoutError("the shadow ran out of time: what it did not score compares with nothing")
            self._note(serving.service.model, model, answered, other)
        except Exception as error:
            self._state.metrics.shadow_failed.inc()
            _log.warning("the shadow could not rank: %s", type(error).__name__)
        finally:
            serving.under_way -= 1

    def _note(
        self, shadow: RankingModel, model: RankingModel, answered: OrderedCandidates, other: OrderedCandidates
    ) -> None:
        task = answered.request.context.task
        metrics = self._state.metrics
        metrics.shadow_overlap.labels(task).observe(overlap(answered.entity_ids, other.entity_ids, TOP))
        metrics.shadow_tau.labels(task).observe(kendall_tau(answered.entity_ids[:_MAX_PLACES], other.entity_ids))
        places = {entity_id: place for place, entity_id in enumerate(other.entity_ids)}
        matched = other.logits[[places[entity_id] for entity_id in answered.entity_ids]]
        drift = np.abs(shadow.probability(task, matched) - model.probability(task, answered.logits))
        if np.isfinite(drift).any():
            metrics.shadow_drift.labels(task).observe(float(np.nanmean(drift)))


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
