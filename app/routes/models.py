"""`/v1/models`: which models there are, which one serves, and how to move between them. Needs the scope `admin`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from fastapi import APIRouter, Request
from pydantic import BaseModel

from app.errors import ModelConflictError, ModelNotFoundError, NotFoundError
from app.follow import Follower
from app.models.shelf import Version
from app.openapi import problems
from app.routes.entrance import live_of

router = APIRouter(prefix="/v1/models", tags=["models"])


class Model(BaseModel):
    """One model of the shelf. `metrics` are those of its training."""

    version: str
    name: str
    checksum: str
    tasks: tuple[str, ...]
    dataset: str
    live: bool
    shadow: bool
    refused: str | None = None
    metrics: dict[str, object]


class Models(BaseModel):
    """All models; `live` is the version that this worker answers with."""

    live: str | None
    models: list[Model]


@router.get("", responses=problems(404, 503))
async def models(request: Request) -> Models:
    """What is on the shelf, and what serves."""
    follower, live = _follower(request), live_of(request)
    version = live.ready().model.version
    found = await asyncio.to_thread(follower.shelf.versions)
    shadow = await asyncio.to_thread(follower.shelf.shadow)
    return Models(live=version, models=[_model(entry, version, shadow, follower.refused) for entry in found])


@router.post("/{version}/activate", responses=problems(404, 409, 422, 503))
async def activate(request: Request, version: str) -> Models:
    """Check a model, serve it here at once and in the other workers within a second."""
    try:
        await _follower(request).activate(version)
    except ModelNotFoundError as error:
        raise NotFoundError(str(error)) from error
    return await models(request)


@router.post("/{version}/rollback", responses=problems(404, 409, 422, 503))
async def rollback(request: Request, version: str) -> Models:
    """Leave a model that serves for the one that served before it."""
    try:
        await _follower(request).rollback(version)
    except ModelNotFoundError as error:
        raise NotFoundError(str(error)) from error
    return await models(request)


@router.post("/{version}/shadow", responses=problems(404, 409, 503))
async def shadow(request: Request, version: str) -> Models:
    """Let a model rank beside the live one, unseen; metrics say how it compares. Workers load it within a second."""
    return await _moved(request, _follower(request).shelf.cast_shadow, version)


@router.delete("/{version}/shadow", responses=problems(404, 409, 503))
async def no_shadow(request: Request, version: str) -> Models:
    """This model is no shadow any more."""
    return await _moved(request, _follower(request).shelf.lift_shadow, version)


async def _moved(request: Request, move: Callable[[str], Version], version: str) -> Models:
    try:
        await asyncio.to_thread(move, version)
    except ModelNotFoundError as error:
        raise NotFoundError(str(error)) from error
    return await models(request)


def _follower(request: Request) -> Follower:
    follower: Follower | None = request.app.state.follower
    if follower is None:
        raise ModelConflictError("this service was started with a model, not with a folder of them")
    return follower


def _model(entry: Version, live: str, shadow: Path | None, refused: dict[str, str]) -> Model:
    return Model(
        version=entry.version, name=entry.name, checksum=entry.checksum, tasks=entry.tasks, dataset=entry.dataset,
        live=entry.version == live, shadow=entry.folder == shadow, refused=refused.get(entry.folder.name),
        metrics=entry.metrics,
    )  # fmt: skip
