"""Follows the registry: loads, checks and warms the models that `LIVE`, `SPLIT` and `SHADOW` name, and serves them.

Every worker reads these files once a second, so that all workers and replicas agree without communicating. A model
that fails its checks changes nothing. Knows no HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path

from app.errors import ModelConflictError, ModelNotFoundError, ModelRefusedError
from app.models.ab_test import Split
from app.models.demo_training import train_demo_if_empty
from app.models.loaded_models import Load, LoadedModels
from app.models.refusals import reason_of
from app.models.registry import LIVE, MANIFEST, ModelRegistry, Version
from app.models.reports import Report, Reporter
from app.models.served_model import ServedModel
from app.models.serving_state import ServingState
from app.models.shadow import Shadow
from app.models.stamps import Stamp, stamp_of

_log = logging.getLogger("unirank")
POLL_INTERVAL_S = 1.0


class Follower:
    """Keeps the serving state on the models that the registry names, and executes the commands that name others."""

    def __init__(self, state: ServingState, registry: ModelRegistry, load: Load) -> None:
        self.state = state
        self.registry = registry
        self.shadow = Shadow(state)
        self.loaded = LoadedModels(state, load, self.shadow.on_order)
        self._state_dir = state.settings.state_dir.expanduser()  # even in a model folder its files are no change
        self._reporter = Reporter(registry.path, self._state_dir)
        self._last_failure = ""
        self._lock = asyncio.Lock()  # held from reading a name to serving it, and from a check to naming

    async def first(self) -> None:
        """Load the first model of this process, or note the reason why there is none."""
        if self.state.settings.model_path is not None:
            self._reporter.start(self._report)
        try:
            await train_demo_if_empty(self.state, self.registry.path)
        except Exception as error:
            self._note_failure(error)
        else:
            await self.follow_live()

    async def run(self) -> None:
        """Follow the registry until cancelled; errors of a round are logged."""
        while True:
            await asyncio.sleep(POLL_INTERVAL_S)
            try:
                await self.follow_live()
                await self.follow_split()
                await self.follow_shadow()
            except Exception:
                _log.exception("following the model registry failed")

    async def follow_live(self) -> None:
        """Go live with the model that `LIVE` names, unless it is live already or its last failure is too recent."""
        async with self._lock:
            try:
                stamp = await asyncio.to_thread(lambda: stamp_of(self.registry.live(), self._state_dir))
                if stamp != self.loaded.live_stamp() and not self.loaded.refusals.waits(stamp):
                    self._go_live(await self.loaded.get(stamp))
            except Exception as error:  # whatever is in a folder, the process keeps serving its current model
                self._note_failure(error)

    async def follow_split(self) -> None:
        """Split the users as `SPLIT` says. If its model may not serve, all users get the live one."""
        async with self._lock:
            named = await asyncio.to_thread(self.registry.split)
            challenger = None if named is None else await self._challenger(named[0])
            self._set_split(None if named is None or challenger is None else Split(challenger, named[1]))

    async def follow_shadow(self) -> None:
        """Use the model that `SHADOW` names as the shadow model."""
        async with self._lock:
            stamp = await self._stamp_of_model(await asyncio.to_thread(self.registry.shadow))
            await self.shadow.follow(stamp, self.loaded)

    async def activate(self, wanted: str) -> Version:
        """Check a model in this process, name it in `LIVE` for the others, then serve it. If it may not serve or cannot
        be named, raises and changes nothing."""
        return await self._activate(await asyncio.to_thread(self.registry.find, wanted))

    async def rollback(self, wanted: str) -> Version:
        """Go back from the model that `LIVE` names to the previous one. Raises `ModelConflictError` if `LIVE` names
        another model than `wanted`, now or once the previous one is checked."""
        if await asyncio.to_thread(self.registry.named, LIVE) is None:
            self.state.require_service()
        leaving = await asyncio.to_thread(self.registry.find_live, wanted)
        return await self._activate(await asyncio.to_thread(self.registry.previous), leaving)

    async def split(self, wanted: str, share: float) -> Version:
        """Check a model in this process, give it a share of the users, and name it in `SPLIT` for the others. Raises if
        it may not serve.
        """
        self.state.require_service()
        version = await asyncio.to_thread(self.registry.find, wanted)
        async with self._lock:
            serving = await self._load_checked(version)
            try:
                named = await asyncio.to_thread(self.registry.split_users, version.name, share)
                if serving is not self.state.serving:
                    self._set_split(Split(serving, share))
            finally:
                self.loaded.retire_unused()
        return named

    async def unsplit(self, wanted: str) -> None:
        """End the split: all users get the live model. Raises `ModelConflictError` if `wanted` takes no share."""
        async with self._lock:
            await asyncio.to_thread(self.registry.unsplit, wanted)
            self._set_split(None)

    def live_folder(self) -> Path | None:
        """The folder of the model that this worker answers with."""
        stamp = self.loaded.live_stamp()
        return None if stamp is None else stamp.folder

    async def close(self) -> None:
        """Stop reporting, and close all loaded models except the live one."""
        await self._reporter.stop()
        await self.shadow.close()
        await self.loaded.close()

    async def _activate(self, version: Version, instead_of: Version | None = None) -> Version:
        """Check, name, serve: in this order, under the lock. A crash in between leaves `LIVE` on a model that passed
        its checks; if `LIVE` cannot be written, no worker changes its model."""
        if self.registry.single:
            raise ModelConflictError(f"{self.registry.path} is one model: there is no other to go to")
        async with self._lock:
            serving = await self._load_checked(version)
            try:
                activated = await asyncio.to_thread(self.registry.activate, version.name, instead_of)
                if serving is not self.state.serving:
                    self._go_live(serving)
                self._set_split(None)
            finally:
                self.loaded.retire_unused()
        return activated

    async def _load_checked(self, version: Version) -> ServedModel:
        try:
            return await self.loaded.get(await self._stamp(version.folder))
        except Exception as error:
            raise ModelRefusedError(f"{version.version} may not serve: {error}") from error

    async def _challenger(self, folder: Path) -> ServedModel | None:
        """The model that takes a share; None if there is none, if it is live, and if it may not serve."""
        stamp = await self._stamp_of_model(folder)
        if self.state.serving is None or stamp is None or stamp == self.loaded.live_stamp():
            return None
        if self.loaded.refusals.waits(stamp):
            return None
        try:
            return await self.loaded.get(stamp)
        except Exception:
            return None  # the reason is in the log and in the list

    async def _stamp(self, folder: Path) -> Stamp:
        return await asyncio.to_thread(stamp_of, folder, self._state_dir)

    async def _stamp_of_model(self, folder: Path | None) -> Stamp | None:
        """The stamp of a folder; None if it holds no model, even if only for a moment."""
        with contextlib.suppress(OSError):
            return await self._stamp(folder) if folder is not None and (folder / MANIFEST).is_file() else None
        return None

    def _go_live(self, serving: ServedModel) -> None:
        self._last_failure = ""
        self.loaded.go_live(serving)
        model = serving.service.model
        _log.info("model %s is live with %d entities", model.version, model.entity_count)

    def _set_split(self, split: Split | None) -> None:
        if split != self.state.split:
            self.state.split = split
            self.loaded.retire_unused()
            _log.info("users are %s", "not split" if split is None else f"split: {split}")

    def _note_failure(self, error: Exception) -> None:
        """Log each reason once, not each second. A missing model does not replace the reason for failed training."""
        reason = f"the model could not be loaded: {reason_of(error)}"
        if reason == self._last_failure or (self._last_failure and isinstance(error, ModelNotFoundError)):
            return
        self._last_failure = reason
        if self.state.serving is None:
            self.state.reason = reason
        _log.error(reason, exc_info=_log.isEnabledFor(logging.DEBUG))

    def _report(self) -> Report:
        """What this worker serves now, for commands that wait for confirmation."""
        live, shadow = (None if model is None else model.version for model in (self.state.serving, self.shadow.serving))
        split = None if self.state.split is None else self.state.split.named()
        refused = {self.registry.name_of(folder): refusal for folder, refusal in self.loaded.refusals.tokens().items()}
        return Report(live, split, shadow, refused)
