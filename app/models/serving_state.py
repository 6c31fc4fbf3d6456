"""What is live: the model that serves and what was built around it, or the reason why there is none. Ranks nothing.

Which model it should be is decided in `follower.py`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import getrandbits

from app.entities.memory import MemoryTier
from app.entities.store import EntityStore
from app.entities.tier import Tier
from app.errors import NotReadyError
from app.events.log import EventLog
from app.execution.admission import Gate
from app.execution.scheduler import Turns
from app.execution.worker_thread import ComputeThread
from app.models.ab_test import Arm, arm_of
from app.observability.metrics import Clock, Telemetry, Unseen
from app.ranking.model import RankingModel
from app.ranking.service import RankingService
from app.ranking.types import OrderedCandidates, RankingRequest
from app.settings import Settings
from model.context.context import MORE_LIKE_THIS, Context

LOADING, WARMING = "loading model", "warming model"
_log = logging.getLogger("unirank")
_WARM_UP_S = 60.0
_LOOK_S = 0.02  # how often a model that is to go looks whether its last ranking is done


def new_id() -> str:
    """A fresh id for a request or a ranking. Unlike any other, not secret: asking the system each time would let go
    of the interpreter, and the compute thread may keep it for long."""
    return f"{getrandbits(128):032x}"


class Serving:
    """One model with its service and store."""

    def __init__(self, service: RankingService, store: EntityStore) -> None:
        self.service = service
        self.store = store
        self.under_way = 0

    @property
    def version(self) -> str:
        """That of its model."""
        return self.service.model.version

    async def warm(self, clock: Clock) -> None:
        """One ranking of each task, so that the first caller does not pay for lazy work."""
        source = None
        for task in sorted(self.service.model.tasks, key=lambda task: task == MORE_LIKE_THIS):
            if task == MORE_LIKE_THIS and source is None:
                continue
            context = Context(task, source_entity_id=source if task == MORE_LIKE_THIS else None)
            ranking = await self.service.rank(RankingRequest(context, clock() + _WARM_UP_S))
            source = next(iter(ranking.entity_ids), source)

    async def retire(self) -> None:
        """Wait for the rankings that still use it, then close its connections."""
        while self.under_way:
            await asyncio.sleep(_LOOK_S)
        await self.store.close()


@dataclass(frozen=True, slots=True)
class Split:
    """A second model answers this share of the users."""

    challenger: Serving
    share: float

    def __str__(self) -> str:
        return f"{self.challenger.version} takes {self.share:g}"

    def named(self) -> tuple[str, float]:
        """The challenger's version, and its share."""
        return self.challenger.version, self.share


class Live:
    """The one mutable object of a process."""

    def __init__(self, settings: Settings, telemetry: Telemetry, clock: Clock = time.monotonic) -> None:
        self.settings = settings
        self.telemetry = telemetry
        self.clock = clock
        self.gate = Gate(settings.max_queue_candidates, clock, telemetry)
        self.compute = ComputeThread()
        self.turns = Turns()
        self.events = EventLog(settings.events_folder())
        self.reason = LOADING
        self.leaving = False  # SIGTERM came: requests are still answered, but should go elsewhere
        self.serving: Serving | None = None
        self.split: Split | None = None

    def ready(self) -> RankingService:
        """The service. Raises `NotReadyError` with the reason where there is none."""
        if self.serving is None:
            raise NotReadyError(self.reason)
        return self.serving.service

    @contextmanager
    def held(
        self, user_id: str | None = None, wanted: str | None = None
    ) -> Iterator[tuple[RankingService, Arm | None]]:
        """The service for the length of one request: whatever goes live meanwhile, this one stays to the end.

        While users are split, the one of this user's arm, and the arm; or the challenger where its version is `wanted`.
        """
        self.ready()
        assert self.serving is not None
        serving, arm = self._chosen(self.serving, user_id, wanted)
        serving.under_way += 1
        try:
            yield serving.service, arm
        finally:
            serving.under_way -= 1

    def _chosen(self, live: Serving, user_id: str | None, wanted: str | None) -> tuple[Serving, Arm | None]:
        """Who names a model gets it and is in no arm: arms are compared, and may hold nobody who chose."""
        if self.split is None:
            return live, None
        challenger = self.split.challenger
        version, other = live.service.model.version, challenger.service.model.version
        if wanted is not None:
            return (challenger if wanted == other else live), None
        arm = arm_of(user_id, version, other, self.split.share)
        return (challenger if arm == "challenger" else live), arm

    def install(self, model: RankingModel) -> None:
        """Go live with a model that is loaded already."""
        self.go_live(self.built(model))

    def built(
        self, model: RankingModel, saw: Callable[[RankingModel, OrderedCandidates], None] = lambda *_: None
    ) -> Serving:
        """A model with what it needs to serve; it does not serve yet. `saw` is told of every order."""
        return self._built(model, self.telemetry, self.gate, saw)

    def unseen(self, model: RankingModel) -> Serving:
        """A model beside the live one, whose rankings count neither among those of callers nor as their load."""
        telemetry = Unseen()
        gate = Gate(self.settings.max_queue_candidates, self.clock, telemetry)
        return self._built(model, telemetry, gate, lambda *_: None)

    def _built(
        self,
        model: RankingModel,
        telemetry: Telemetry,
        gate: Gate,
        saw: Callable[[RankingModel, OrderedCandidates], None],
    ) -> Serving:
        limit = self.settings.memory_entities
        redis = self._redis(model)
        store = EntityStore(model, MemoryTier(limit), limit, redis, self.compute, telemetry, gate.records)
        return Serving(
            RankingService(
                model,
                store,
                self.compute,
                self.turns,
                gate,
                telemetry,
                self.clock,
                new_id,
                self.settings.retrieve_limit,
                self.settings.max_seen,
                saw,
            ),
            store,
        )

    def go_live(self, serving: Serving) -> None:
        """From now on new requests are answered by this one."""
        self.serving = serving
        self.reason = ""
        self.telemetry.model(serving.service.model.version, serving.service.model.checksum)

    async def close(self) -> None:
        """Stop computing, finish the write-backs and the events."""
        await asyncio.to_thread(self.events.close)
        await asyncio.to_thread(self.compute.close)
        if self.serving is not None:
            await self.serving.store.close()

    def _redis(self, model: RankingModel) -> Tier | None:
        """The tier behind process memory; None where there is none, or where it would never be asked."""
        settings = self.settings
        if not settings.redis_url:
            return None
        if model.entity_count <= settings.memory_entities:
            _log.info("all %d entities fit into process memory: Redis is not asked", model.entity_count)
            return None
        from app.entities.redis import RedisTier  # 10 MB of memory that a process without Redis does not need

        return RedisTier(settings.redis_url, model.version, settings.redis_timeout_ms, settings.redis_ttl_s, self.clock)
