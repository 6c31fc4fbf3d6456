"""What this process serves now, and the reason where it serves nothing. Loads no model and reads no registry."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from app.errors import NotReadyError
from app.events.log import EventLog
from app.execution.admission import AdmissionControl
from app.execution.scheduler import Scheduler
from app.execution.worker_thread import WorkerThread
from app.models.ab_test import Arm, Split
from app.models.served_model import ServedModel
from app.models.service_factory import OnOrder, ServiceFactory
from app.observability.metrics import Clock, Metrics, NullMetrics
from app.ranking.model import RankingModel
from app.ranking.service import RankingService
from app.settings import Settings

LOADING, WARMING = "loading model", "warming model"


class ServingState:
    """The one mutable object of a process."""

    def __init__(self, settings: Settings, metrics: Metrics, clock: Clock = time.monotonic) -> None:
        self.settings = settings
        self.metrics = metrics
        self.clock = clock
        self.admission = AdmissionControl(settings.max_queue_candidates, clock, metrics)
        self.worker = WorkerThread()
        self.scheduler = Scheduler()
        self.events = EventLog(settings.events_folder())
        self.reason = LOADING
        self.leaving = False  # SIGTERM came: requests are still answered, but should go elsewhere
        self.serving: ServedModel | None = None
        self.split: Split | None = None
        self._services = ServiceFactory(settings, self.worker, self.scheduler, clock)

    def require_service(self) -> RankingService:
        """The service. Raises `NotReadyError` with the reason where there is none."""
        if self.serving is None:
            raise NotReadyError(self.reason)
        return self.serving.service

    @contextmanager
    def hold(
        self, user_id: str | None = None, wanted: str | None = None
    ) -> Iterator[tuple[RankingService, Arm | None]]:
        """The service for the length of one request: whatever goes live meanwhile, this one stays to the end.

        While users are split, the one of this user's arm, and the arm; or the challenger where its version is `wanted`.
        """
        self.require_service()
        assert self.serving is not None
        serving, arm = self._chosen(self.serving, user_id, wanted)
        serving.under_way += 1
        try:
            yield serving.service, arm
        finally:
            serving.under_way -= 1

    def _chosen(self, live: ServedModel, user_id: str | None, wanted: str | None) -> tuple[ServedModel, Arm | None]:
        return (live, None) if self.split is None else self.split.choose(live, user_id, wanted)

    def install(self, model: RankingModel) -> None:
        """Go live with a model that is loaded already."""
        self.go_live(self.build(model))

    def build(self, model: RankingModel, on_order: OnOrder = lambda *_: None) -> ServedModel:
        """A model with what it needs to serve; it does not serve yet. `on_order` is called with every order."""
        return self._services.build(model, self.metrics, self.admission, on_order)

    def build_shadow(self, model: RankingModel) -> ServedModel:
        """A model beside the live one, whose rankings count neither among those of callers nor as their load."""
        metrics = NullMetrics()
        admission = AdmissionControl(self.settings.max_queue_candidates, self.clock, metrics)
        return self._services.build(model, metrics, admission, lambda *_: None)

    def go_live(self, serving: ServedModel) -> None:
        """From now on new requests are answered by this one. If it took a share of the users, the split is over."""
        self.serving = serving
        self.reason = ""
        self.metrics.set_model(serving.service.model.version, serving.service.model.checksum)
        if self.split is not None and self.split.challenger is serving:
            self.split = None

    async def close(self) -> None:
        """Stop computing, finish the write-backs and the events."""
        await asyncio.to_thread(self.events.close)
        await asyncio.to_thread(self.worker.close)
        if self.serving is not None:
            await self.serving.store.close()
