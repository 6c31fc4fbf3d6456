"""Follows the shelf: what `LIVE` names is loaded, checked, warmed and swapped in; a model that fails changes nothing.

One look a second in every worker, so that all workers and replicas agree without talking to each other. The model
that served before stays loaded: going back to it is instant. Knows no HTTP.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from app import garbage
from app.errors import ModelConflictError, ModelNotFoundError, ModelRefusedError, UnirankError
from app.live import LOADING, WARMING, Live, Serving, Split
from app.models.loading import has_model, make_demo
from app.models.shelf import MANIFEST, Shelf, Version
from app.ranking import Ordered, RankingModel
from app.shadow import Shadow
from app.threads import one_thread

_log = logging.getLogger("unirank")
LOOK_EVERY_S = 1.0
Load = Callable[[Path], RankingModel]
Stamp = tuple[Path, int, int]


class Follower:
    """Keeps `live` on the model that the shelf names."""

    def __init__(self, live: Live, shelf: Shelf, load: Load) -> None:
        self.live = live
        self.shelf = shelf
        self.refused: dict[str, str] = {}  # name of a folder → why it may not serve
        self._load = load
        self._stamps: dict[Serving, Stamp] = {}  # what is loaded: the live one, the one before, the challenger
        self._before: Serving | None = None
        self._refused_stamps: set[Stamp] = set()
        self._told = ""
        self._one_at_a_time = asyncio.Lock()
        self._retiring: set[asyncio.Task[None]] = set()
        settings = live.settings
        self.shadow = Shadow(live.telemetry, live.clock, settings.shadow_share, settings.timeout_ms / 1000)
        self._shadow_stamp: Stamp | None = None

    async def first(self) -> None:
        """The first model of this process, or the reason why there is none."""
        try:
            await self._demo_first()
        except Exception as error:
            self._say(error)
        else:
            await self.look()

    async def run(self) -> None:
        """Look for as long as the process lives; a look that fails says so and is not the last."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await self.look()
                await self.look_for_split()
                await self.look_for_shadow()
            except Exception:
                _log.exception("looking for the live model failed")

    async def look(self) -> None:
        """Go live with what the shelf names, unless it serves already or was refused as it is."""
        try:
            folder = self.shelf.live()
            stamp = _stamp(folder)
            if stamp == self._serving_stamp() or stamp in self._refused_stamps:
                return
            await self._bring(folder)
        except Exception as error:  # whatever a folder holds, the process lives on with the model it has
            self._say(error)

    async def look_for_split(self) -> None:
        """Split the users as `SPLIT` says. Where its model may not serve, everybody gets the live one."""
        async with self._one_at_a_time:
            named = self.shelf.split()
            challenger = None if named is None else await self._challenger(named[0])
            split = None if named is None or challenger is None else Split(challenger, named[1])
            if split != self.live.split:
                self.live.split = split
                self._let_go()
                _log.info("users are %s", "not split" if split is None else f"split: {split}")

    async def look_for_shadow(self) -> None:
        """Load what `SHADOW` names, drop what it no longer names. A shadow that fails its checks casts none."""
        folder = self.shelf.shadow()
        stamp = None if folder is None or not (folder / MANIFEST).is_file() else _stamp(folder)
        if stamp == self._shadow_stamp:
            return
        self._shadow_stamp = stamp
        before, self.shadow.serving = self.shadow.serving, None
        if before is not None:
            self._retire(before)
        if stamp is None or folder is None:
            return
        try:
            self.shadow.serving = self.live.unseen(await asyncio.to_thread(self._load, folder))
            self.refused.pop(folder.name, None)
            _log.info("model %s is the shadow", self.shadow.serving.service.model.version)
        except Exception as error:
            self._refuse(folder, error)

    async def activate(self, wanted: str) -> Version:
        """Check a model here, serve it, and name it in `LIVE` for the others. Raises where it may not serve."""
        found = await asyncio.to_thread(self.shelf.find, wanted)
        if self.shelf.single:
            raise ModelConflictError(f"{self.shelf.path} is one model: there is no other to go to")
        try:
            await self._bring(found.folder)
        except Exception as error:
            raise ModelRefusedError(f"{found.version} may not serve: {error}") from error
        activated = await asyncio.to_thread(self.shelf.activate, found.version)
        await self.look_for_split()
        return activated

    async def split(self, wanted: str, share: float) -> Version:
        """Check a model here, give it a share of the users, and say so in `SPLIT` for the others. Raises where it may
        not serve.
        """
        self.live.ready()
        found = await asyncio.to_thread(self.shelf.find, wanted)
        try:
            async with self._one_at_a_time:
                await self._fit(found.folder, _stamp(found.folder))
        except Exception as error:
            raise ModelRefusedError(f"{found.version} may not serve: {error}") from error
        named = await asyncio.to_thread(self.shelf.split_users, found.version, share)
        await self.look_for_split()
        return named

    async def unsplit(self, wanted: str) -> None:
        """Everybody gets the live model again. Raises `ModelConflictError` where that one takes no share."""
        await asyncio.to_thread(self.shelf.unsplit, wanted)
        await self.look_for_split()

    async def rollback(self, wanted: str) -> Version:
        """Leave a model that serves for the one before it. Raises `ModelConflictError` where it is not live."""
        live = await asyncio.to_thread(self.shelf.find, wanted)
        if self.live.ready().model.version != live.version:
            raise ModelConflictError(f"{live.version} is not live, {self.live.ready().model.version} is")
        previous = await asyncio.to_thread(self.shelf.previous)
        return await self.activate(previous.version)

    async def close(self) -> None:
        """Close what is loaded beside the live model."""
        await self.shadow.settle()
        if self.shadow.serving is not None:
            await self.shadow.serving.store.close()
        for serving in self._stamps:
            if serving is not self.live.serving:
                await serving.store.close()
        await asyncio.gather(*self._retiring)

    async def _bring(self, folder: Path) -> None:
        """Make a folder live: from memory where it is loaded already, else read, checked and warmed first."""
        async with self._one_at_a_time:
            stamp = _stamp(folder)
            if stamp != self._serving_stamp():
                self._swap(await self._fit(folder, stamp))

    async def _challenger(self, folder: Path) -> Serving | None:
        """The model that takes a share; None where there is none, where it is live, and where it may not serve."""
        if self.live.serving is None or not (folder / MANIFEST).is_file():
            return None
        stamp = _stamp(folder)
        if stamp == self._serving_stamp() or stamp in self._refused_stamps:
            return None
        try:
            return await self._fit(folder, stamp)
        except Exception:
            return None  # the reason is in the log and in the list

    async def _fit(self, folder: Path, stamp: Stamp) -> Serving:
        """A folder as a model that is read, checked and warm. Notes the reason, and raises, where it may not serve."""
        try:
            serving = self._loaded(stamp) or await self._made(folder)
        except Exception as error:
            self._refused_stamps.add(stamp)
            self._refuse(folder, error)
            raise
        self._refused_stamps.discard(stamp)
        self.refused.pop(folder.name, None)
        self._stamps[serving] = stamp
        return serving

    async def _made(self, folder: Path) -> Serving:
        first = self.live.serving is None
        model = await asyncio.to_thread(self._load, folder)
        one_thread()
        serving = self.live.built(model, self._saw)
        if first:
            self.live.reason = WARMING
        try:
            await serving.warm(self.live.clock)
        except BaseException:  # be it that the service ends meanwhile
            await serving.store.close()
            raise
        if first:
            garbage.collect()
        garbage.look_away()
        return serving

    def _saw(self, model: RankingModel, ordered: Ordered) -> None:
        """The shadow is compared with the live model alone, not with a challenger."""
        if self.live.serving is not None and model is self.live.serving.service.model:
            self.shadow.saw(model, ordered)

    def _swap(self, serving: Serving) -> None:
        self._before = self.live.serving
        self.live.go_live(serving)
        if self.live.split is not None and self.live.split.challenger is serving:
            self.live.split = None
        self._let_go()
        model = serving.service.model
        _log.info("model %s is live with %d entities", model.version, model.entity_count)

    def _let_go(self) -> None:
        """Retire what is not live, was not live before, and takes no share."""
        challenger = None if self.live.split is None else self.live.split.challenger
        kept = (self.live.serving, self._before, challenger)
        for serving in [loaded for loaded in self._stamps if loaded not in kept]:
            del self._stamps[serving]
            self._retire(serving)

    def _retire(self, serving: Serving) -> None:
        task = asyncio.create_task(serving.retire())
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    def _loaded(self, stamp: Stamp) -> Serving | None:
        return next((serving for serving, own in self._stamps.items() if own == stamp), None)

    def _serving_stamp(self) -> Stamp | None:
        return None if self.live.serving is None else self._stamps.get(self.live.serving)

    def _say(self, error: Exception) -> None:
        """Once for each reason, not each second; that there is no model does not hide why it could not be made."""
        reason = f"the model could not be loaded: {_line(error)}"
        if reason == self._told or (self._told and isinstance(error, ModelNotFoundError)):
            return
        self._told = reason
        if self.live.serving is None:
            self.live.reason = reason
        _log.error(reason, exc_info=_log.isEnabledFor(logging.DEBUG))

    def _refuse(self, folder: Path, error: Exception) -> None:
        self.refused[folder.name] = _line(error)
        self.live.telemetry.models_refused.inc()
        _log.error("model %s may not serve: %s", folder.name, _line(error))

    async def _demo_first(self) -> None:
        """Where the settings ask for it and there is no model yet, make the demo's; /readyz says so meanwhile."""
        if not self.live.settings.demo_if_empty or has_model(self.shelf.path):
            return
        self.live.reason = "there is no model yet: training the demo's first, about two minutes"
        await asyncio.to_thread(make_demo, self.shelf.path)
        self.live.reason = LOADING


def _stamp(folder: Path) -> Stamp:
    """What changes when a folder is replaced: its manifest is written last."""
    found = (folder / MANIFEST).stat()
    return folder, found.st_mtime_ns, found.st_ino


def _line(error: Exception) -> str:
    text = error.detail if isinstance(error, UnirankError) else str(error)
    return " ".join(text.split()) or type(error).__name__
