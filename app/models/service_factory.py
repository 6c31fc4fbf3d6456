"""Builds the entity store and the ranking service of a model from the settings. Makes nothing live."""

from __future__ import annotations

import logging
from collections.abc import Callable

from app.entities.memory import MemoryTier
from app.entities.store import EntityStore
from app.entities.tier import Tier
from app.execution.admission import AdmissionControl
from app.execution.scheduler import Scheduler
from app.execution.worker_thread import WorkerThread
from app.models.served_model import ServedModel
from app.observability.ids import new_id
from app.observability.metrics import Clock, Metrics
from app.ranking.model import RankingModel
from app.ranking.service import RankingService
from app.ranking.types import OrderedCandidates
from app.settings import Settings

_log = logging.getLogger("unirank")
OnOrder = Callable[[RankingModel, OrderedCandidates], None]  # called with every order of a service


class ServiceFactory:
    """Builds services that share the worker thread, the scheduler and the clock of the process."""

    def __init__(self, settings: Settings, worker: WorkerThread, scheduler: Scheduler, clock: Clock) -> None:
        self._settings = settings
        self._worker = worker
        self._scheduler = scheduler
        self._clock = clock

    def build(
        self, model: RankingModel, metrics: Metrics, admission: AdmissionControl, on_order: OnOrder
    ) -> ServedModel:
        """A model with its service and store, counted by `metrics` and admitted by `admission`."""
        limit = self._settings.memory_entities
        redis = self._redis(model)
        store = EntityStore(model, MemoryTier(limit), limit, redis, self._worker, metrics, admission.records)
        return ServedModel(
            RankingService(
                model,
                store,
                self._worker,
                self._scheduler,
                admission,
                metrics,
                self._clock,
                new_id,
                self._settings.retrieve_limit,
                self._settings.max_seen,
                on_order,
            ),
            store,
        )

    def _redis(self, model: RankingModel) -> Tier | None:
        """The tier behind process memory; None if Redis is not configured or would never be used."""
        settings = self._settings
        if not settings.redis_url:
            return None
        if model.entity_count <= settings.memory_entities:
            _log.info("all %d entities fit into process memory: Redis is not used", model.entity_count)
            return None
        from app.entities.redis import RedisTier  # saves 10 MB of memory in processes without Redis

        return RedisTier(
            settings.redis_url, model.version, settings.redis_timeout_ms, settings.redis_ttl_s, self._clock
        )
