"""What this process serves now, or why it serves nothing. Loads no model and reads no registry."""

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
    """The mutable state of a process: the live model, the split, and the shared parts."""

    def __init__(self, settings: Settings, metrics: Metrics, clock: Clock = time.monotonic) -> None:
        self.settings = settings
        self.metrics = metrics
        self.clock = clock
        self.admission = AdmissionControl(settings.max_queue_candidates, clock, metrics)
        self.worker = WorkerThread()
        self.scheduler = Scheduler()
        self.events = EventLog(settings.events_folder())
        self.reason = LOADING
        self.leaving = False  # after SIGTERM: requests are still answered, but should go elsewhere
        self.serving: ServedModel | None = None
        self.split: Split | None = None
        self._services = ServiceFactory(settings, self.worker, self.scheduler, clock)

    def require_service(self) -> RankingService:
        """The service of the live model. Raises `NotReadyError` with the reason if there is none."""
        if self.serving is None:
            raise NotReadyError(self.reason)
        return self.serving.service

    @contextmanager
    def hold(
        self, user_id: str | None = None, wanted: str | None = None
    ) -> Iterator[tuple[RankingService, Arm | None]]:
        """The service for the duration of one request, whatever goes live in the meantime, and the arm of the user.

        While users are split, it is that of the user's arm, or of the challenger if its version is `wanted`.
        """
        self.require_service()
        assert self.serving is not None
        serving, arm = self._choose(self.serving, user_id, wanted)
        serving.under_way += 1
        try:
            yield serving.service, arm
        finally:
            serving.under_way -= 1

    def _choose(self, live: ServedModel, user_id: str | None, wanted: str | None) -> tuple[ServedModel, Arm | None]:
        return (live, None) if self.split is None else self.split.choose(live, user_id, wanted)

    def install(self, model: RankingModel) -> None:
        """Go live with an already loaded model."""
        self.go_live(self.build(model))

    def build(self, model: RankingModel, on_order: OnOrder = lambda *_: None) -> ServedModel:
        """A model with its service and store; it is not live yet. `on_order` is called with every order."""
        return self._services.build(model, self.metrics, self.admission, on_order)

    def build_shadow(self, model: RankingModel) -> ServedModel:
        """A model for shadow rankings, which count neither in the metrics nor in the load of the live model."""
        metrics = NullMetrics()
        admission = AdmissionControl(self.settings.max_queue_candidates, self.clock, metrics)
        return self._services.build(model, metrics, admission, lambda *_: None)

    def go_live(self, serving: ServedModel) -> None:
        """Answer new requests with this model. If it was the challenger of a split, the split ends."""
        self.serving = serving
        self.reason = ""
        self.metrics.set_model(serving.service.model.version, serving.service.model.checksum)
        if self.split is not None and self.split.challenger is serving:
            self.split = None

    async def close(self) -> None:
        """Finish writing events, stop the worker thread, finish the write-backs."""
        await asyncio.to_thread(self.events.close)
        await asyncio.to_thread(self.worker.close)
        if self.serving is not None:
            await self.serving.store.close()
