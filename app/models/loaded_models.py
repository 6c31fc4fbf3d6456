"""The models that are loaded in this process: each loaded once, checked and warm, kept while it is of use.

Kept are the live model, the one that was live before (going back to it is instant) and the challenger of a split;
others retire once the last request that uses them is done. Does not decide which model is live.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from app.execution import gc_tuning
from app.execution.torch_threads import one_thread
from app.models.refusals import Refusals, reason_of
from app.models.served_model import ServedModel
from app.models.service_factory import OnOrder
from app.models.serving_state import WARMING, ServingState
from app.models.stamps import Stamp
from app.ranking.model import RankingModel

_log = logging.getLogger("unirank")
Load = Callable[[Path], RankingModel]  # a folder → a model that has passed its checks; takes seconds, in a thread


class LoadedModels:
    """Models by the stamp of their folder. `refusals`: which folders may not serve, and why."""

    def __init__(self, live: ServingState, load: Load, on_order: OnOrder) -> None:
        self.refusals = Refusals(live.clock)
        self._state = live
        self._load = load
        self._on_order = on_order
        self._stamps: dict[ServedModel, Stamp] = {}
        self._before: ServedModel | None = None
        self._retiring: set[asyncio.Task[None]] = set()

    async def get(self, stamp: Stamp) -> ServedModel:
        """A folder as a model that is loaded, checked and warm. Where it may not serve, notes the reason and raises."""
        with self._noting_refusal(stamp):
            serving = self._loaded(stamp) or await self._load_and_warm(stamp)
        self._stamps[serving] = stamp
        return serving

    async def load_shadow(self, stamp: Stamp) -> ServedModel:
        """A folder as a model beside the live one, which is not kept here. Notes refusals and raises like `get`."""
        with self._noting_refusal(stamp):
            return self._state.build_shadow(await asyncio.to_thread(self._load, stamp.folder))

    def live_stamp(self) -> Stamp | None:
        """The stamp of the model that this process answers with."""
        return None if self._state.serving is None else self._stamps.get(self._state.serving)

    def go_live(self, serving: ServedModel) -> None:
        """Answer new requests with this model, and keep the one that was live so far."""
        self._before = self._state.serving
        self._state.go_live(serving)
        self.retire_unused()

    def retire_unused(self) -> None:
        """Retire what is not live, was not live before, and takes no share of the users."""
        challenger = None if self._state.split is None else self._state.split.challenger
        kept = (self._state.serving, self._before, challenger)
        for serving in [loaded for loaded in self._stamps if loaded not in kept]:
            del self._stamps[serving]
            self.retire(serving)

    def retire(self, serving: ServedModel) -> None:
        """Close a model in the background, once the last request that uses it is done."""
        task = asyncio.create_task(serving.retire())
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def close(self) -> None:
        """Close what is loaded beside the live model."""
        for serving in self._stamps:
            if serving is not self._state.serving:
                await serving.store.close()
        await asyncio.gather(*self._retiring)

    def _loaded(self, stamp: Stamp) -> ServedModel | None:
        return next((serving for serving, own in self._stamps.items() if own == stamp), None)

    async def _load_and_warm(self, stamp: Stamp) -> ServedModel:
        first = self._state.serving is None
        model = await asyncio.to_thread(self._load, stamp.folder)
        one_thread()
        serving = self._state.build(model, self._on_order)
        if first:
            self._state.reason = WARMING
        try:
            await serving.warm(self._state.clock)
        except BaseException:  # be it that the service ends meanwhile
            await serving.store.close()
            raise
        if first:
            gc_tuning.collect()
        gc_tuning.freeze()
        return serving

    @contextlib.contextmanager
    def _noting_refusal(self, stamp: Stamp) -> Iterator[None]:
        since = self.refusals.now()
        try:
            yield
        except Exception as error:
            self.refusals.note(stamp, reason_of(error), since)
            self._state.metrics.models_refused.inc()
            _log.error("model %s may not serve: %s", stamp.folder.name, reason_of(error))
            raise
        self.refusals.forget(stamp.folder)
