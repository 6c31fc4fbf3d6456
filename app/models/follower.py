"""Follows the registry: the model that `LIVE` names is loaded, checked, warmed and made live; `SPLIT` and `SHADOW` too.

Every worker reads these files once a second, so that all workers and replicas agree without talking to each other. A
model that fails changes nothing. Knows no HTTP.
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
    """Keeps `live` on the models that the registry names, and carries out the commands that name others."""

    def __init__(self, live: ServingState, registry: ModelRegistry, load: Load) -> None:
        self.state = live
        self.registry = registry
        self.shadow = Shadow(live)
        self.loaded = LoadedModels(live, load, self.shadow.on_order)
        self._state_dir = live.settings.state_dir.expanduser()  # be it in a model's folder: what is there is no change
        self._reporter = Reporter(registry.path, self._state_dir)
        self._last_failure = ""
        self._lock = asyncio.Lock()  # from reading what is named to serving it, or from a check to naming

    async def first(self) -> None:
        """The first model of this process, or the reason why there is none."""
        if self.state.settings.model_path is not None:
            self._reporter.start(self._report)
        try:
            await train_demo_if_empty(self.state, self.registry.path)
        except Exception as error:
            self._note_failure(error)
        else:
            await self.follow_live()

    async def run(self) -> None:
        """Follow for as long as the process lives; a round that fails is logged and is not the last."""
        while True:
            await asyncio.sleep(POLL_INTERVAL_S)
            try:
                await self.follow_live()
                await self.follow_split()
                await self.follow_shadow()
            except Exception:
                _log.exception("following the model registry failed")

    async def follow_live(self) -> None:
        """Go live with the model that `LIVE` names, unless it serves already, or it is too early to try it again."""
        async with self._lock:
            try:
                stamp = await asyncio.to_thread(lambda: stamp_of(self.registry.live(), self._state_dir))
                if stamp != self.loaded.live_stamp() and not self.loaded.refusals.waits(stamp):
                    self._go_live(await self.loaded.get(stamp))
            except Exception as error:  # whatever a folder holds, the process lives on with the model it has
                self._note_failure(error)

    async def follow_split(self) -> None:
        """Split the users as `SPLIT` says. Where its model may not serve, everybody gets the live one."""
        async with self._lock:
            named = await asyncio.to_thread(self.registry.split)
            challenger = None if named is None else await self._challenger(named[0])
            self._split(None if named is None or challenger is None else Split(challenger, named[1]))

    async def follow_shadow(self) -> None:
        """Compare with the model that `SHADOW` names."""
        async with self._lock:
            stamp = await self._stamp_of_model(await asyncio.to_thread(self.registry.shadow))
            await self.shadow.follow(stamp, self.loaded)

    async def activate(self, wanted: str) -> Version:
        """Check a model here, name it in `LIVE` for the others, then serve it. Raises where it may not serve, or
        cannot be named; then nothing has changed."""
        return await self._move(await asyncio.to_thread(self.registry.find, wanted))

    async def rollback(self, wanted: str) -> Version:
        """Leave the model that `LIVE` names for the one before it. Raises `ModelConflictError` where `LIVE` names
        another, now or by the time that the one before is checked."""
        if await asyncio.to_thread(self.registry.named, LIVE) is None:
            self.state.require_service()
        leaving = await asyncio.to_thread(self.registry.find_live, wanted)
        return await self._move(await asyncio.to_thread(self.registry.previous), leaving)

    async def split(self, wanted: str, share: float) -> Version:
        """Check a model here, give it a share of the users, and say so in `SPLIT` for the others. Raises where it may
        not serve.
        """
        self.state.require_service()
        found = await asyncio.to_thread(self.registry.find, wanted)
        async with self._lock:
            serving = await self._checked(found)
            try:
                named = await asyncio.to_thread(self.registry.split_users, found.name, share)
                if serving is not self.state.serving:
                    self._split(Split(serving, share))
            finally:
                self.loaded.retire_unused()
        return named

    async def unsplit(self, wanted: str) -> None:
        """Everybody gets the live model again. Raises `ModelConflictError` where that one takes no share."""
        async with self._lock:
            await asyncio.to_thread(self.registry.unsplit, wanted)
            self._split(None)

    def live_folder(self) -> Path | None:
        """The folder of the model that this worker answers with."""
        stamp = self.loaded.live_stamp()
        return None if stamp is None else stamp.folder

    async def close(self) -> None:
        """Stop reporting, and close what is loaded beside the live model."""
        await self._reporter.stop()
        await self.shadow.close()
        await self.loaded.close()

    async def _move(self, found: Version, instead_of: Version | None = None) -> Version:
        """Check, name, serve: in this order, and nobody moves anything in this process meanwhile. A crash in between
        leaves `LIVE` on a model that passed; a `LIVE` that cannot be written leaves all workers as they are."""
        if self.registry.single:
            raise ModelConflictError(f"{self.registry.path} is one model: there is no other to go to")
        async with self._lock:
            serving = await self._checked(found)
            try:
                activated = await asyncio.to_thread(self.registry.activate, found.name, instead_of)
                if serving is not self.state.serving:
                    self._go_live(serving)
                self._split(None)
            finally:
                self.loaded.retire_unused()
        return activated

    async def _checked(self, found: Version) -> ServedModel:
        try:
            return await self.loaded.get(await self._stamp(found.folder))
        except Exception as error:
            raise ModelRefusedError(f"{found.version} may not serve: {error}") from error

    async def _challenger(self, folder: Path) -> ServedModel | None:
        """The model that takes a share; None where there is none, where it is live, and where it may not serve."""
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
        """None where there is no model, be it for a moment only."""
        with contextlib.suppress(OSError):
            return await self._stamp(folder) if folder is not None and (folder / MANIFEST).is_file() else None
        return None

    def _go_live(self, serving: ServedModel) -> None:
        self._last_failure = ""
        self.loaded.go_live(serving)
        model = serving.service.model
        _log.info("model %s is live with %d entities", model.version, model.entity_count)

    def _split(self, split: Split | None) -> None:
        if split != self.state.split:
            self.state.split = split
            self.loaded.retire_unused()
            _log.info("users are %s", "not split" if split is None else f"split: {split}")

    def _note_failure(self, error: Exception) -> None:
        """Once for each reason, not each second; that there is no model does not hide why it could not be made."""
        reason = f"the model could not be loaded: {reason_of(error)}"
        if reason == self._last_failure or (self._last_failure and isinstance(error, ModelNotFoundError)):
            return
        self._last_failure = reason
        if self.state.serving is None:
            self.state.reason = reason
        _log.error(reason, exc_info=_log.isEnabledFor(logging.DEBUG))

    def _report(self) -> Report:
        """What serves here now, for the commands that wait for it."""
        live, shadow = (None if one is None else one.version for one in (self.state.serving, self.shadow.serving))
        split = None if self.state.split is None else self.state.split.named()
        refused = {self.registry.name_of(folder): why for folder, why in self.loaded.refusals.tokens().items()}
        return Report(live, split, shadow, refused)
