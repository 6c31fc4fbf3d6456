"""The application factory: creates the parts from the settings and connects them. Has no logic of its own."""

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
    """Create the application. A given `model` serves from the start and never changes; without one, the application
    follows the models that the settings name.

    `load` loads a model from a folder; by default it reads and checks an artefact. Raises `RedisUrlError`,
    `KeysFileError`.
    """
    if settings.redis_url:
        redis_url.check(settings.redis_url)
    state = ServingState(settings, Metrics(own_registry()))
    follower = None
    if model is not None:
        state.install(model)
    else:
        follower = Follower(state, ModelRegistry(settings.model_path or Path()), load or _loader(settings))
    app = DocumentedAPI(
        title="unirank",
        summary="One ranking network for search, homepage rows and more-like-this.",
        version=_version(),
        lifespan=_lifespan(state, follower),
        redirect_slashes=False,
        openapi_url=None,  # FastAPI would add routes that declare no access: see `app/api/ops/document.py`
    )
    app.state.serving = state
    app.state.load_shedder = LoadShedder(state)
    app.state.connection_limit = ConnectionLimit(settings.max_connections)
    app.state.follower = follower
    app.state.user_samples = page.UserSamples()
    for module in _ROUTES:
        app.router.routes.extend(module.router.routes)  # `include_router` would match each path twice
    _add_guard(app, state)
    install_problem_handlers(app)
    _add_middleware(app, state)
    return app


def create_app_from_env() -> FastAPI:
    """Create the application from environment variables. uvicorn workers call this factory."""
    settings = Settings()
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s")
    return create_app(settings)


def _add_guard(app: FastAPI, state: ServingState) -> None:
    """Check access to all routes and to unknown paths. Raises `UndeclaredAccessError`, `KeysFileError`."""
    check_declared(app.routes)
    settings, not_found = state.settings, app.router.default
    key_ring = KeyRing(settings.api_keys_file, state.clock) if settings.api_keys_file else None
    guard = Guard(key_ring, settings.admin_port)
    app.state.guard = guard

    async def check_then_not_found(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            guard.check_unmatched(scope)
        await not_found(scope, receive, send)

    app.router.default = check_then_not_found


def _add_middleware(app: FastAPI, state: ServingState) -> None:
    """CORS is added last and therefore outermost, so that browsers may read problem documents too."""
    app.add_middleware(RequestMiddleware, metrics=state.metrics, clock=state.clock)
    if origins := state.settings.origins():
        app.add_middleware(
            Cors,
            allow_origins=origins,
            allow_methods=METHODS,
            allow_headers=["*"],
            expose_headers=EXPOSED,
        )


def _lifespan(
    state: ServingState, follower: Follower | None
) -> Callable[[FastAPI], contextlib.AbstractAsyncContextManager[None]]:
    """Load the model in the background, so that `/livez` answers at once; close everything at shutdown.

    One of several workers takes no requests before it is ready: the others answer meanwhile.
    """
    settings = state.settings
    wait_until_ready = settings.workers > 1 and not settings.demo_if_empty

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if follower is None:
            with notice(state):
                yield
            await state.close()
            return
        follow_task = asyncio.create_task(_follow(follower))
        try:
            while wait_until_ready and state.serving is None and state.reason in (LOADING, WARMING):
                await asyncio.sleep(0.01)
            with notice(state):
                yield
        finally:
            follow_task.cancel()
            await asyncio.gather(follow_task, return_exceptions=True)
            await follower.close()
            await state.close()

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
