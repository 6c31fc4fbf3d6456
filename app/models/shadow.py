"""The shadow model: ranks some requests again after the live model, to compare the two. Changes no answer.

It ranks the same candidates, at most one comparison at a time, so that it delays other requests by at most one
ranking. The results go to three metrics; none of them reaches the caller.
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
    """Compares the shadow model `serving` (None = there is none now) with the live model on a share of the rankings."""

    def __init__(self, state: ServingState) -> None:
        self.serving: ServedModel | None = None
        self._state = state
        self._stamp: Stamp | None = None
        self._task: asyncio.Task[None] | None = None

    async def follow(self, stamp: Stamp | None, loaded: LoadedModels) -> None:
        """Load the model of this stamp, retire any other; None = no shadow model. A model that may not serve is skipped
        until its next attempt is due."""
        if stamp == self._stamp:
            return
        previous, self.serving, self._stamp = self.serving, None, None
        if previous is not None:
            loaded.retire(previous)
        if stamp is None or loaded.refusals.waits(stamp):
            return
        with contextlib.suppress(Exception):  # the reason is in the log and in the list
            self.serving = await loaded.load_shadow(stamp)
            self._stamp = stamp
            _log.info("model %s is the shadow", self.serving.version)

    def on_order(self, model: RankingModel, live_order: OrderedCandidates) -> None:
        """Called with every order; starts a comparison for some. Orders of a challenger are not compared."""
        if self._state.serving is None or model is not self._state.serving.service.model:
            return
        idle = self._task is None or self._task.done()
        complete = bool(live_order.entity_ids) and DEADLINE not in live_order.degraded
        if self.serving is not None and idle and complete and random.random() < self._state.settings.shadow_share:
            self._task = asyncio.create_task(self._compare(self.serving, model, live_order))

    async def close(self) -> None:
        """Wait for the comparison under way, then close the shadow model."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        if self.serving is not None:
            await self.serving.store.close()

    async def _compare(self, serving: ServedModel, model: RankingModel, live_order: OrderedCandidates) -> None:
        deadline = self._state.clock() + self._state.settings.timeout_ms / 1000
        serving.under_way += 1
        try:
            request = replace(
                live_order.request, candidates=live_order.entity_ids, deadline=deadline,
                exclude=frozenset(), seen="keep", unknown="last", priority=Priority.LOW,
            )  # fmt: skip
            shadow_order = await serving.service.order(request)
            if DEADLINE in shadow_order.degraded:
                raise TimeoutError("the shadow ran out of time: what it did not score compares with nothing")
            self._observe(serving.service.model, model, live_order, shadow_order)
        except Exception as error:
            self._state.metrics.shadow_failed.inc()
            _log.warning("the shadow could not rank: %s", type(error).__name__)
        finally:
            serving.under_way -= 1

    def _observe(
        self, shadow: RankingModel, model: RankingModel, live_order: OrderedCandidates, shadow_order: OrderedCandidates
    ) -> None:
        task = live_order.request.context.task
        metrics = self._state.metrics
        metrics.shadow_overlap.labels(task).observe(overlap(live_order.entity_ids, shadow_order.entity_ids, TOP))
        metrics.shadow_tau.labels(task).observe(
            kendall_tau(live_order.entity_ids[:_MAX_PLACES], shadow_order.entity_ids)
        )
        places = {entity_id: place for place, entity_id in enumerate(shadow_order.entity_ids)}
        matched = shadow_order.logits[[places[entity_id] for entity_id in live_order.entity_ids]]
        stated = shadow.probability(shadow_order.filled.context, matched)
        drift = np.abs(stated - model.probability(live_order.filled.context, live_order.logits))
        if np.isfinite(drift).any():
            metrics.shadow_drift.labels(task).observe(float(np.nanmean(drift)))


def overlap(one: list[str], other: list[str], count: int) -> float:
    """Share of the first `count` ids that both lists contain.

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
