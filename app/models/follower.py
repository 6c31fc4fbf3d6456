"""Follows the shelf: what `LIVE` names is loaded, checked, warmed and swapped in; a model that fails changes nothing.

One look a second in every worker, so that all workers and replicas agree without talking to each other. The model
that served before stays loaded: going back to it is instant. Knows no HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from app.errors import ModelConflictError, ModelNotFoundError, ModelRefusedError
from app.execution import gc_tuning
from app.execution.torch_threads import one_thread
from app.models.loading import has_model, make_demo
from app.models.refusals import Refusals, reason_of
from app.models.registry import LIVE, MANIFEST, Shelf, Version
from app.models.reports import Report, Reporter
from app.models.serving_state import LOADING, WARMING, Live, Serving, Split
from app.models.shadow import Shadow
from app.models.stamps import Stamp, stamp_of
from app.ranking.model import RankingModel
from app.ranking.types import Ordered

_log = logging.getLogger("unirank")
LOOK_EVERY_S = 1.0
Load = Callable[[Path], RankingModel]


class Follower:
    """Keeps `live` on the model that the shelf names."""

    def __init__(self, live: Live, shelf: Shelf, load: Load) -> None:
        self.live = live
        self.shelf = shelf
        self.refusals = Refusals(live.clock)
        self._load = load
        self._stamps: dict[Serving, Stamp] = {}  # what is loaded: the live one, the one before, the challenger
        self._before: Serving | None = None
        self._told = ""
        self._one_at_a_time = asyncio.Lock()  # from reading what is named to serving it, or from a check to naming
        self._retiring: set[asyncio.Task[None]] = set()
        settings = live.settings
        self.shadow = Shadow(live.telemetry, live.clock, settings.shadow_share, settings.timeout_ms / 1000)
        self._shadow_stamp: Stamp | None = None
        self._left_out = settings.state_dir.expanduser()  # where this service writes, be it in a model's folder
        self._reporter = Reporter(shelf.path, self._left_out)
        self._reporting: asyncio.Task[None] | None = None

    async def first(self) -> None:
        """The first model of this process, or the reason why there is none."""
        self._reporting = asyncio.create_task(self._report())
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
        """Go live with what the shelf names, unless it serves already, or it is too early to try it again."""
        async with self._one_at_a_time:
            try:
                stamp = await asyncio.to_thread(lambda: stamp_of(self.shelf.live(), self._left_out))
                if stamp != self._serving_stamp() and not self.refusals.waits(stamp):
                    self._swap(await self._fit(stamp))
            except Exception as error:  # whatever a folder holds, the process lives on with the model it has
                self._say(error)

    async def look_for_split(self) -> None:
        """Split the users as `SPLIT` says. Where its model may not serve, everybody gets the live one."""
        async with self._one_at_a_time:
            named = await asyncio.to_thread(self.shelf.split)
            challenger = None if named is None else await self._challenger(named[0])
            self._split(None if named is None or challenger is None else Split(challenger, named[1]))

    async def look_for_shadow(self) -> None:
        """Load what `SHADOW` names, drop what it no longer names. A shadow that fails its checks casts none, until
        it is tried again."""
        async with self._one_at_a_time:
            stamp = await self._stamp_of_model(await asyncio.to_thread(self.shelf.shadow))
            if stamp == self._shadow_stamp:
                return
            before, self.shadow.serving, self._shadow_stamp = self.shadow.serving, None, None
            if before is not None:
                self._retire(before)
            if stamp is None or self.refusals.waits(stamp):
                return
            with contextlib.suppress(Exception), self._trying(stamp):
                self.shadow.serving = self.live.unseen(await asyncio.to_thread(self._load, stamp.folder))
                self._shadow_stamp = stamp
                _log.info("model %s is the shadow", self.shadow.serving.version)

    async def activate(self, wanted: str) -> Version:
        """Check a model here, name it in `LIVE` for the others, then serve it. Raises where it may not serve, or
        cannot be named; then nothing has changed."""
        return await self._move(await asyncio.to_thread(self.shelf.find, wanted))

    async def rollback(self, wanted: str) -> Version:
        """Leave the model that `LIVE` names for the one before it. Raises `ModelConflictError` where `LIVE` names
        another, now or by the time that the one before is checked."""
        if await asyncio.to_thread(self.shelf.named, LIVE) is None:
            self.live.ready()
        leaving = await asyncio.to_thread(self.shelf.find_live, wanted)
        return await self._move(await asyncio.to_thread(self.shelf.previous), leaving)

    async def split(self, wanted: str, share: float) -> Version:
        """Check a model here, give it a share of the users, and say so in `SPLIT` for the others. Raises where it may
        not serve.
        """
        self.live.ready()
        found = await asyncio.to_thread(self.shelf.find, wanted)
        async with self._one_at_a_time:
            serving = await self._checked(found)
            try:
                named = await asyncio.to_thread(self.shelf.split_users, found.name, share)
                if serving is not self.live.serving:
                    self._split(Split(serving, share))
            finally:
                self._let_go()
        return named

    async def unsplit(self, wanted: str) -> None:
        """Everybody gets the live model again. Raises `ModelConflictError` where that one takes no share."""
        async with self._one_at_a_time:
            await asyncio.to_thread(self.shelf.unsplit, wanted)
            self._split(None)

    def live_folder(self) -> Path | None:
        """The folder of the model that this worker answers with."""
        stamp = self._serving_stamp()
        return None if stamp is None else stamp.folder

    async def close(self) -> None:
        """Close what is loaded beside the live model."""
        if self._reporting is not None:
            self._reporting.cancel()
            await asyncio.gather(self._reporting, return_exceptions=True)
        await asyncio.to_thread(self._reporter.remove)
        await self.shadow.settle()
        if self.shadow.serving is not None:
            await self.shadow.serving.store.close()
        for serving in self._stamps:
            if serving is not self.live.serving:
                await serving.store.close()
        await asyncio.gather(*self._retiring)

    async def _move(self, found: Version, instead_of: Version | None = None) -> Version:
        """Check, name, serve: in this order, and nobody moves anything in this process meanwhile. A crash in between
        leaves `LIVE` on a model that passed; a `LIVE` that cannot be written leaves all workers as they are."""
        if self.shelf.single:
            raise ModelConflictError(f"{self.shelf.path} is one model: there is no other to go to")
        async with self._one_at_a_time:
            serving = await self._checked(found)
            try:
                activated = await asyncio.to_thread(self.shelf.activate, found.name, instead_of)
                if serving is not self.live.serving:
                    self._swap(serving)
                self._split(None)
            finally:
                self._let_go()
        return activated

    async def _checked(self, found: Version) -> Serving:
        try:
            return await self._fit(await self._stamp(found.folder))
        except Exception as error:
            raise ModelRefusedError(f"{found.version} may not serve: {error}") from error

    async def _challenger(self, folder: Path) -> Serving | None:
        """The model that takes a share; None where there is none, where it is live, and where it may not serve."""
        stamp = await self._stamp_of_model(folder)
        if self.live.serving is None or stamp is None or stamp == self._serving_stamp() or self.refusals.waits(stamp):
            return None
        try:
            return await self._fit(stamp)
        except Exception:
            return None  # the reason is in the log and in the list

    async def _fit(self, stamp: Stamp) -> Serving:
        """A folder as a model that is read, checked and warm. Notes the reason, and raises, where it may not serve."""
        with self._trying(stamp):
            serving = self._loaded(stamp) or await self._made(stamp.folder)
        self._stamps[serving] = stamp
        return serving

    @contextlib.contextmanager
    def _trying(self, stamp: Stamp) -> Iterator[None]:
        since = self.refusals.now()
        try:
            yield
        except Exception as error:
            self.refusals.note(stamp, reason_of(error), since)
            self.live.telemetry.models_refused.inc()
            _log.error("model %s may not serve: %s", stamp.folder.name, reason_of(error))
            raise
        self.refusals.forget(stamp.folder)

    async def _stamp(self, folder: Path) -> Stamp:
        return await asyncio.to_thread(stamp_of, folder, self._left_out)

    async def _stamp_of_model(self, folder: Path | None) -> Stamp | None:
        """None where there is no model, be it for a moment only."""
        with contextlib.suppress(OSError):
            return await self._stamp(folder) if folder is not None and (folder / MANIFEST).is_file() else None
        return None

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
            gc_tuning.collect()
        gc_tuning.freeze()
        return serving

    def _saw(self, model: RankingModel, ordered: Ordered) -> None:
        """The shadow is compared with the live model alone, not with a challenger."""
        if self.live.serving is not None and model is self.live.serving.service.model:
            self.shadow.saw(model, ordered)

    def _swap(self, serving: Serving) -> None:
        self._before, self._told = self.live.serving, ""
        self.live.go_live(serving)
        if self.live.split is not None and self.live.split.challenger is serving:
            self.live.split = None
        self._let_go()
        model = serving.service.model
        _log.info("model %s is live with %d entities", model.version, model.entity_count)

    def _split(self, split: Split | None) -> None:
        if split != self.live.split:
            self.live.split = split
            self._let_go()
            _log.info("users are %s", "not split" if split is None else f"split: {split}")

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
        reason = f"the model could not be loaded: {reason_of(error)}"
        if reason == self._told or (self._told and isinstance(error, ModelNotFoundError)):
            return
        self._told = reason
        if self.live.serving is None:
            self.live.reason = reason
        _log.error(reason, exc_info=_log.isEnabledFor(logging.DEBUG))

    async def _report(self) -> None:
        """Say each second what serves here, for the commands that wait for it."""
        while self.live.settings.model_path is not None:
            live, shadow = (
                serving.version if serving else None for serving in (self.live.serving, self.shadow.serving)
            )
            split = None if self.live.split is None else self.live.split.named()
            refused = {self.shelf.name_of(folder): why for folder, why in self.refusals.tokens().items()}
            await asyncio.to_thread(self._reporter.write, Report(live, split, shadow, refused))
            await asyncio.sleep(LOOK_EVERY_S)

    async def _demo_first(self) -> None:
        """Where the settings ask for it and there is no model yet, make the demo's; /readyz says so meanwhile."""
        if not self.live.settings.demo_if_empty or has_model(self.shelf.path):
            return
        self.live.reason = "there is no model yet: training the demo's first, about two minutes"
        await asyncio.to_thread(make_demo, self.shelf.path)
        self.live.reason = LOADING
