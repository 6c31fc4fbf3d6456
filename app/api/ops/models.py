"""`/v1/models`: lists the models, and changes which ones serve. Requires the scope `admin`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path

from fastapi import APIRouter, Request
from pydantic import BaseModel

from app.api.common import serving_state
from app.api.openapi import problems, takes
from app.api.v1.schemas import SplitBody
from app.errors import ModelConflictError, ModelNotFoundError, NotFoundError
from app.http.auth.route import GuardedRoute, needs
from app.http.auth.scopes import Scope
from app.http.body import read_body
from app.http.decoding import decode
from app.models.follower import Follower
from app.models.registry import Unreadable, Version

router = APIRouter(prefix="/v1/models", tags=["models"], route_class=GuardedRoute)


class Model(BaseModel):
    """One model of the registry. `split`: the share of the users that it serves instead of the live model. `refused`:
    why this worker refused it at the last attempt, or what the folder lacks. `metrics` are those of its training."""

    version: str
    name: str
    checksum: str
    tasks: tuple[str, ...]
    dataset: str
    live: bool
    shadow: bool
    split: float | None = None
    refused: str | None = None
    metrics: dict[str, object]


class BrokenModel(BaseModel):
    """A folder that cannot be read as a model, and the reason."""

    name: str
    reason: str


class Models(BaseModel):
    """All models; `live` is the version that this worker answers with, null before there is one."""

    live: str | None
    models: list[Model]
    unreadable: list[BrokenModel]


@router.get("", responses=problems(409))
@needs(Scope.ADMIN)
async def models(request: Request) -> Models:
    """The models of the registry, and which ones serve."""
    follower, serving = _follower(request), serving_state(request).serving
    registry = follower.registry
    contents = await asyncio.to_thread(registry.contents)
    shadow, split = await asyncio.to_thread(registry.shadow), await asyncio.to_thread(registry.split)
    return Models(
        live=None if serving is None else serving.version,
        models=[_model(entry, follower, shadow, split) for entry in contents if isinstance(entry, Version)],
        unreadable=[
            BrokenModel(name=entry.name, reason=entry.reason) for entry in contents if isinstance(entry, Unreadable)
        ],
    )


@router.post("/{version}/activate", responses=problems(404, 409, 422, 503))
@needs(Scope.ADMIN)
async def activate(request: Request, version: str) -> Models:
    """Check a model and make it live: in this worker at once, in the others within a second. Ends a split."""
    return await _models_after(request, _follower(request).activate(version))


@router.post("/{version}/rollback", responses=problems(404, 409, 422, 503))
@needs(Scope.ADMIN)
async def rollback(request: Request, version: str) -> Models:
    """Return from the live model to the previous one. Ends a split."""
    return await _models_after(request, _follower(request).rollback(version))


@router.post("/{version}/split", responses=problems(400, 404, 408, 409, 413, 422, 503), openapi_extra=takes(SplitBody))
@needs(Scope.ADMIN)
async def split(request: Request, version: str) -> Models:
    """Check a model and serve it to a share of the users, always the same ones; the others get the live model."""
    settings = serving_state(request).settings
    raw = await read_body(request, settings)
    body = decode(raw, SplitBody, settings.max_depth)
    return await _models_after(request, _follower(request).split(version, body.share))


@router.delete("/{version}/split", responses=problems(404, 409, 503))
@needs(Scope.ADMIN)
async def no_split(request: Request, version: str) -> Models:
    """End the split: all users get the live model again."""
    return await _models_after(request, _follower(request).unsplit(version))


@router.post("/{version}/shadow", responses=problems(404, 409, 503))
@needs(Scope.ADMIN)
async def shadow(request: Request, version: str) -> Models:
    """Make a model the shadow model: it ranks without answering, and metrics compare it with the live model. Workers
    load it within a second."""
    return await _models_after(request, asyncio.to_thread(_follower(request).registry.set_shadow, version))


@router.delete("/{version}/shadow", responses=problems(404, 409, 503))
@needs(Scope.ADMIN)
async def no_shadow(request: Request, version: str) -> Models:
    """The model is no longer the shadow model."""
    return await _models_after(request, asyncio.to_thread(_follower(request).registry.clear_shadow, version))


async def _models_after(request: Request, change: Awaitable[Version | None]) -> Models:
    try:
        await change
    except ModelNotFoundError as error:
        raise NotFoundError(str(error)) from error
    return await models(request)


def _follower(request: Request) -> Follower:
    follower: Follower | None = request.app.state.follower
    if follower is None:
        raise ModelConflictError("this service was started with a model, not with a folder of them")
    return follower


def _model(entry: Version, follower: Follower, shadow: Path | None, split: tuple[Path, float] | None) -> Model:
    return Model(
        version=entry.version, name=entry.name, checksum=entry.checksum, tasks=entry.tasks, dataset=entry.dataset,
        live=entry.folder == follower.live_folder(), shadow=entry.folder == shadow,
        split=split[1] if split is not None and split[0] == entry.folder else None,
        refused=follower.loaded.refusals.reason(entry.folder) or entry.incomplete, metrics=entry.metrics,
    )  # fmt: skip
