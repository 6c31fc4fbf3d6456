"""The one place that wires: settings, model, store, metrics and routes into an application."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fastapi import FastAPI
from prometheus_client import CollectorRegistry, ProcessCollector
from starlette.middleware.cors import CORSMiddleware

from app.access.guard import Guard, KeyRing
from app.door import Door
from app.entity_store import redis_url
from app.errors import install_problem_handlers
from app.follow import Follower, Load
from app.live import LOADING, WARMING, Live
from app.models.loading import load_model
from app.models.shelf import Shelf
from app.openapi import Documented
from app.quick_no import QuickNo
from app.ranking import RankingModel
from app.routes import entities, events, health, homepage, limits, metrics, models, more_like_this, page, rank, search
from app.settings import Settings
from app.telemetry import Telemetry

_ROUTES = (rank, search, more_like_this, homepage, entities, events, limits, health, metrics, models, page)


def create_app(
    settings: Settings,
    model: RankingModel | None = None,
    load: Load | None = None,
) -> FastAPI:
    """The application. A `model` is live at once and for good; else it follows the models that the settings name.

    `load` makes a model of a folder; by default it reads and checks an artefact. Raises `RedisUrlError`.
    """
    if settings.redis_url:
        redis_url.check(settings.redis_url)
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    live = Live(settings, Telemetry(registry))
    follower = None
    if model is not None:
        live.install(model)
    else:
        follower = Follower(live, Shelf(settings.model_path or Path()), load or _loader(settings))
    app = Documented(
        title="unirank",
        summary="One ranking network for search, homepage rows and more-like-this.",
        version=_version(),
        lifespan=_lifespan(live, follower),
        redirect_slashes=False,
        redoc_url=None,
    )
    app.state.live = live
    app.state.quick_no = QuickNo(live)
    app.state.follower = follower
    for module in _ROUTES:
        app.include_router(module.router)
    install_problem_handlers(app, [route for module in _ROUTES for route in module.router.routes])
    _add_middleware(app, live)
    return app


def create_app_from_env() -> FastAPI:
    """The application as the environment describes it; the factory that uvicorn workers call."""
    settings = Settings()
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s")
    return create_app(settings)


def _add_middleware(app: FastAPI, live: Live) -> None:
    """Added last is outermost: CORS around the door, so that browsers may read problems too; the guard within both."""
    settings = live.settings
    ring = KeyRing(settings.api_keys_file, live.clock) if settings.api_keys_file else None
    patience_s = settings.timeout_ms / 1000
    app.add_middleware(
        Guard, ring=ring, admin_port=settings.admin_port, check_room=lambda: live.gate.check_full(patience_s)
    )
    app.add_middleware(Door, telemetry=live.telemetry, clock=live.clock)
    if origins := settings.origins():
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=["X-Request-ID", "Server-Timing", "Retry-After"],
        )


def _lifespan(
    live: Live, follower: Follower | None
) -> Callable[[FastAPI], contextlib.AbstractAsyncContextManager[None]]:
    """Load behind the back of the server, so that /livez answers at once; close at the end.

    A worker among several takes no request before it is ready: the others answer meanwhile.
    """
    settings = live.settings
    waits = settings.workers > 1 and not settings.demo_if_empty

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if follower is None:
            yield
            await live.close()
            return
        following = asyncio.create_task(_follow(follower))
        try:
            while waits and live.serving is None and live.reason in (LOADING, WARMING):
                await asyncio.sleep(0.01)
            yield
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await follower.close()
            await live.close()

    return lifespan


async def _follow(follower: Follower) -> None:
    await follower.first()
    await follower.run()


def _loader(settings: Settings) -> Load:
    return lambda folder: load_model(folder, settings.device, settings.timeout_ms / 1000)


def _version() -> str:
    try:
        return version("unirank")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "0"
