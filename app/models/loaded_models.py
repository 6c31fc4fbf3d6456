"""The models loaded in this process: each is loaded once, checked, warmed, and kept while it is in use.

Kept are the live model, the previous one (so that a rollback is instant) and the challenger of a split; others retire
once their last request is done. Does not decide which model is live.
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
Load = Callable[[Path], RankingModel]  # a folder → a checked model; takes seconds, called in a thread


class LoadedModels:
    """Models by the stamp of their folder. `refusals`: folders that may not serve, and why."""

    def __init__(self, state: ServingState, load: Load, on_order: OnOrder) -> None:
        self.refusals = Refusals(state.clock)
        self._state = state
        self._load = load
        self._on_order = on_order
        self._stamps: dict[ServedModel, Stamp] = {}
        self._previous: ServedModel | None = None
        self._retiring: set[asyncio.Task[None]] = set()

    async def get(self, stamp: Stamp) -> ServedModel:
        """The loaded, checked and warm model of a folder. If it may not serve, notes the reason and raises."""
        with self._note_refusal(stamp):
            serving = self._find(stamp) or await self._load_and_warm(stamp)
        self._stamps[serving] = stamp
        return serving

    async def load_shadow(self, stamp: Stamp) -> ServedModel:
        """The model of a folder as a shadow model, which is not kept here. Notes refusals and raises like `get`."""
        with self._note_refusal(stamp):
            return self._state.build_shadow(await asyncio.to_thread(self._load, stamp.folder))

    def live_stamp(self) -> Stamp | None:
        """The stamp of the live model of this process."""
        return None if self._state.serving is None else self._stamps.get(self._state.serving)

    def go_live(self, serving: ServedModel) -> None:
        """Answer new requests with this model, and keep the previous one."""
        self._previous = self._state.serving
        self._state.go_live(serving)
        self.retire_unused()

    def retire_unused(self) -> None:
        """Retire models that are neither live, nor the previous one, nor the challenger."""
        challenger = None if self._state.split is None else self._state.split.challenger
        kept = (self._state.serving, self._previous, challenger)
        for serving in [model for model in self._stamps if model not in kept]:
            del self._stamps[serving]
            self.retire(serving)

    def retire(self, serving: ServedModel) -> None:
        """Close a model in the background, once the last request that uses it is done."""
        task = asyncio.create_task(serving.retire())
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def close(self) -> None:
        """Close all loaded models except the live one."""
        for serving in self._stamps:
            if serving is not self._state.serving:
                await serving.store.close()
        await asyncio.gather(*self._retiring)

    def _find(self, stamp: Stamp) -> ServedModel | None:
        return next((serving for serving, loaded in self._stamps.items() if loaded == stamp), None)

    async def _load_and_warm(self, stamp: Stamp) -> ServedModel:
        first = self._state.serving is None
        model = await asyncio.to_thread(self._load, stamp.folder)
        one_thread()
        serving = self._state.build(model, self._on_order)
        if first:
            self._state.reason = WARMING
        try:
            await serving.warm(self._state.clock)
        except BaseException:  # also if the service is stopped
            await serving.store.close()
            raise
        if first:
            gc_tuning.collect()
        gc_tuning.freeze()
        return serving

    @contextlib.contextmanager
    def _note_refusal(self, stamp: Stamp) -> Iterator[None]:
        since = self.refusals.now()
        try:
            yield
        except Exception as error:
            self.refusals.note(stamp, reason_of(error), since)
            self._state.metrics.models_refused.inc()
            _log.error("model %s may not serve: %s", stamp.folder.name, reason_of(error))
            raise
        self.refusals.forget(stamp.folder)
