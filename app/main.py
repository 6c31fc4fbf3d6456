"""The one place that wires: settings, model, store, metrics and routes into an application."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from app.api.openapi import DocumentedAPI
from app.api.ops import document, health, limits, metrics, models
from app.api.playground import page
from app.api.v1 import entities, events, homepage, more_like_this, rank, search
from app.entities import redis_url
from app.http.auth.policy import Guard, KeyRing
from app.http.auth.route import check_declared
from app.http.connection_limit import ConnectionLimit
from app.http.cors import EXPOSED, METHODS, Cors
from app.http.draining import notice
from app.http.load_shedding import LoadShedder
from app.http.middleware import RequestMiddleware
from app.http.problems import install_problem_handlers
from app.models.follower import Follower
from app.models.loaded_models import Load
from app.models.loading import load_model
from app.models.registry import ModelRegistry
from app.models.serving_state import LOADING, WARMING, ServingState
from app.observability.metrics import Metrics
from app.observability.worker_metrics import own_registry
from app.ranking.model import RankingModel
from app.settings import Settings

_ROUTES = (rank, search, more_like_this, homepage, entities, events, limits, health, metrics, models, page, document)


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
    live = ServingState(settings, Metrics(own_registry()))
    follower = None
    if model is not None:
        live.install(model)
    else:
        follower = Follower(live, ModelRegistry(settings.model_path or Path()), load or _loader(settings))
    app = DocumentedAPI(
        title="unirank",
        summary="One ranking network for search, homepage rows and more-like-this.",
        version=_version(),
        lifespan=_lifespan(live, follower),
        redirect_slashes=False,
        openapi_url=None,  # FastAPI would add routes that declare no access: see `app/api/ops/document.py`
    )
    app.state.serving = live
    app.state.load_shedder = LoadShedder(live)
    app.state.connection_limit = ConnectionLimit(settings.max_connections)
    app.state.follower = follower
    app.state.user_samples = page.UserSamples()
    for module in _ROUTES:
        app.router.routes.extend(module.router.routes)  # as they are: what is included is matched twice
    _add_guard(app, live)
    install_problem_handlers(app)
    _add_middleware(app, live)
    return app


def create_app_from_env() -> FastAPI:
    """The application as the environment describes it; the factory that uvicorn workers call."""
    settings = Settings()
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s")
    return create_app(settings)


def _add_guard(app: FastAPI, live: ServingState) -> None:
    """One policy for all routes, and for what matches none. Raises `UndeclaredAccessError`, `KeysFileError`."""
    check_declared(app.routes)
    settings, not_found = live.settings, app.router.default
    ring = KeyRing(settings.api_keys_file, live.clock) if settings.api_keys_file else None
    guard = Guard(ring, settings.admin_port)
    app.state.guard = guard

    async def unmatched(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            guard.check_unmatched(scope)
        await not_found(scope, receive, send)

    app.router.default = unmatched


def _add_middleware(app: FastAPI, live: ServingState) -> None:
    """Added last is outermost: CORS around the door, so that browsers may read problems too."""
    app.add_middleware(RequestMiddleware, metrics=live.metrics, clock=live.clock)
    if origins := live.settings.origins():
        app.add_middleware(
            Cors,
            allow_origins=origins,
            allow_methods=METHODS,
            allow_headers=["*"],
            expose_headers=EXPOSED,
        )


def _lifespan(
    live: ServingState, follower: Follower | None
) -> Callable[[FastAPI], contextlib.AbstractAsyncContextManager[None]]:
    """Load behind the back of the server, so that /livez answers at once; close at the end.

    A worker among several takes no request before it is ready: the others answer meanwhile.
    """
    settings = live.settings
    waits = settings.workers > 1 and not settings.demo_if_empty

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if follower is None:
            with notice(live):
                yield
            await live.close()
            return
        following = asyncio.create_task(_follow(follower))
        try:
            while waits and live.serving is None and live.reason in (LOADING, WARMING):
                await asyncio.sleep(0.01)
            with notice(live):
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
