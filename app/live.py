"""What is live: the model and what was built around it, or the reason why there is none. Ranks nothing."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from uuid import uuid4

from app.entity_store.memory import MemoryTier
from app.entity_store.redis import RedisTier
from app.entity_store.store import EntityStore
from app.errors import NotReadyError
from app.event_log.log import EventLog
from app.model_registry import has_model, make_demo
from app.ranking import RankingModel, RankingRequest, RankingService
from app.scoring import ComputeThread, Permits
from app.settings import Settings
from app.telemetry import Clock, Telemetry
from model.data.context import MORE_LIKE_THIS, Context

_log = logging.getLogger("unirank")
_WARM_UP_S = 60.0


def new_id() -> str:
    """A fresh id for a request or a ranking."""
    return uuid4().hex


class Live:
    """The one mutable object of a process."""

    def __init__(self, settings: Settings, telemetry: Telemetry, clock: Clock = time.monotonic) -> None:
        self.settings = settings
        self.telemetry = telemetry
        self.clock = clock
        self.permits = Permits(settings.max_queue)
        self.compute = ComputeThread()
        self.events = EventLog(settings.events_folder())
        self.reason = "loading model"
        self._service: RankingService | None = None
        self._store: EntityStore | None = None

    def ready(self) -> RankingService:
        """The service. Raises `NotReadyError` with the reason where there is none."""
        if self._service is None:
            raise NotReadyError(self.reason)
        return self._service

    async def load(self, load: Callable[[], RankingModel]) -> None:
        """Load in the compute thread, warm, go live. A model that fails leaves its reason behind."""
        try:
            await self._demo_first()
            model = await self.compute.run(load)
            self.reason = "warming model"
            service = self._built(model)
            await _warm(service, self.clock)
            self._go_live(service)
        except Exception as error:
            self.reason = f"the model could not be loaded: {error}"
            _log.error(self.reason, exc_info=_log.isEnabledFor(logging.DEBUG))

    async def _demo_first(self) -> None:
        """Where the settings ask for it and there is no model yet, make the demo's; /readyz says so meanwhile."""
        path = self.settings.model_path
        if not self.settings.demo_if_empty or path is None or has_model(path):
            return
        self.reason = "there is no model yet: training the demo's first, about two minutes"
        await asyncio.to_thread(make_demo, path)
        self.reason = "loading model"

    def install(self, model: RankingModel) -> None:
        """Go live with a model that is loaded already."""
        self._go_live(self._built(model))

    async def close(self) -> None:
        """Stop computing, finish the write-backs and the events."""
        await asyncio.to_thread(self.events.close)
        await asyncio.to_thread(self.compute.close)
        if self._store is not None:
            await self._store.close()

    def _built(self, model: RankingModel) -> RankingService:
        settings = self.settings
        self._store = EntityStore(
            model,
            MemoryTier(settings.memory_entities),
            settings.memory_entities,
            self._redis(model.version),
            self.compute,
            self.telemetry,
        )
        return RankingService(
            model, self._store, self.compute, self.telemetry, self.clock, new_id, settings.retrieve_limit
        )

    def _redis(self, version: str) -> RedisTier | None:
        settings = self.settings
        if not settings.redis_url:
            return None
        return RedisTier(settings.redis_url, version, settings.redis_timeout_ms, settings.redis_ttl_s, self.clock)

    def _go_live(self, service: RankingService) -> None:
        self._service = service
        self.reason = ""
        self.telemetry.model(service.model.version, service.model.checksum)
        _log.info("model %s is live with %d entities", service.model.version, service.model.entity_count)


async def _warm(service: RankingService, clock: Clock) -> None:
    """One ranking of each task, so that the first caller does not pay for lazy work."""
    source = None
    for task in sorted(service.model.tasks, key=lambda task: task == MORE_LIKE_THIS):
        if task == MORE_LIKE_THIS and source is None:
            continue
        context = Context(task, source_entity_id=source if task == MORE_LIKE_THIS else None)
        ranking = await service.rank(RankingRequest(context, clock() + _WARM_UP_S))
        source = next(iter(ranking.entity_ids), source)
