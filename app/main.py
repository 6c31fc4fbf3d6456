"""The one place that wires: settings, model, store, metrics and routes into an application."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from importlib.metadata import PackageNotFoundError, version

from fastapi import FastAPI
from prometheus_client import CollectorRegistry, ProcessCollector
from starlette.middleware.cors import CORSMiddleware

from app.access.guard import Guard, KeyRing
from app.door import Door
from app.errors import install_problem_handlers
from app.live import Live
from app.model_registry import load_model
from app.openapi import Documented
from app.ranking import RankingModel
from app.routes import entities, events, health, homepage, limits, metrics, more_like_this, page, rank, search
from app.settings import Settings
from app.telemetry import Telemetry

_ROUTES = (rank, search, more_like_this, homepage, entities, events, limits, health, metrics, page)


def create_app(
    settings: Settings,
    model: RankingModel | None = None,
    load: Callable[[], RankingModel] | None = None,
) -> FastAPI:
    """The application. A `model` is live at once; else `load` runs at start, by default from the settings."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    live = Live(settings, Telemetry(registry))
    if model is not None:
        live.install(model)
    app = Documented(
        title="unirank",
        summary="One ranking network for search, homepage rows and more-like-this.",
        version=_version(),
        lifespan=_lifespan(live, None if model else load or _loader(settings)),
        redirect_slashes=False,
        redoc_url=None,
    )
    app.state.live = live
    for module in _ROUTES:
        app.include_router(module.router)
    install_problem_handlers(app)
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
    app.add_middleware(Guard, ring=ring, admin_port=settings.admin_port)
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
    live: Live, load: Callable[[], RankingModel] | None
) -> Callable[[FastAPI], contextlib.AbstractAsyncContextManager[None]]:
    """Load behind the back of the server, so that /livez answers at once; close at the end.

    A worker among several takes no request before it is ready: the others answer meanwhile.
    """
    settings = live.settings
    waits = settings.workers > 1 and not settings.demo_if_empty

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        loading = asyncio.create_task(live.load(load)) if load is not None else None
        try:
            if loading is not None and waits:
                await loading
            yield
        finally:
            if loading is not None:
                loading.cancel()
                await asyncio.gather(loading, return_exceptions=True)
            await live.close()

    return lifespan


def _loader(settings: Settings) -> Callable[[], RankingModel]:
    return lambda: load_model(settings.model_path, settings.device)


def _version() -> str:
    try:
        return version("unirank")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "0"
