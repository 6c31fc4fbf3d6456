"""One model with its ranking service and entity store. Does not know whether it is live."""

from __future__ import annotations

import asyncio

from app.entities.store import EntityStore
from app.observability.metrics import Clock
from app.ranking.service import RankingService
from app.ranking.types import RankingRequest
from model.context.context import MORE_LIKE_THIS, Context

_WARM_UP_S = 60.0
_POLL_S = 0.02  # how often a retiring model checks whether its last request is done


class ServedModel:
    """One model with its service and store. `under_way`: number of requests that use it now."""

    def __init__(self, service: RankingService, store: EntityStore) -> None:
        self.service = service
        self.store = store
        self.under_way = 0

    @property
    def version(self) -> str:
        """The version of its model."""
        return self.service.model.version

    async def warm(self, clock: Clock) -> None:
        """Rank once for each task, so that the first request does not pay for lazy initialisation."""
        source = None
        for task in sorted(self.service.model.tasks, key=lambda task: task == MORE_LIKE_THIS):
            if task == MORE_LIKE_THIS and source is None:
                continue
            context = Context(task, source_entity_id=source if task == MORE_LIKE_THIS else None)
            ranking = await self.service.rank(RankingRequest(context, clock() + _WARM_UP_S))
            source = next(iter(ranking.entity_ids), source)

    async def retire(self) -> None:
        """Wait for the requests that still use this model, then close its connections."""
        while self.under_way:
            await asyncio.sleep(_POLL_S)
        await self.store.close()
