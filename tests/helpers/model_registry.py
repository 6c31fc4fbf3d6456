"""A registry of models and the service that follows it, for the tests of both. Tests nothing."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import torch
from app_fakes import client_of, settings

from app.main import create_app
from app.models.loaded_models import Load
from app.models.registry import LIVE
from model.artefact.contents import ArtefactContents
from model.artefact.reading import read
from model.artefact.writing import write

PATIENCE = 1000  # polls of 10 ms


def registry_of_three(model: Path, folder: Path) -> Path:
    """Two good models, alike but for the version, and one whose scores are all the same; `one` is live."""
    shutil.copytree(model, folder / "one")
    write(folder / "two", read(model), "two")
    write(folder / "flat", flat(read(model)), "flat")
    (folder / LIVE).write_text("one\n")
    return folder


def flat(contents: ArtefactContents) -> ArtefactContents:
    """A model that says the same of everything, golden requests included."""
    with torch.no_grad():
        for weight in (contents.ranker.out.weight, contents.ranker.straight.weight):
            weight.zero_()
    task = contents.golden[0]["context"]["task"]
    same = float(contents.calibration.probability(task, contents.ranker.out.bias.detach().numpy())[0])
    golden = [
        entry | {"scores": [same] * len(entry["scores"])}
        for entry in contents.golden
        if entry["context"]["task"] == task
    ]
    return replace(contents, golden=golden)


@asynccontextmanager
async def service(
    registry: Path, load: Load | None = None, wait: bool = True, **changes: object
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a service that follows the registry, once it is ready."""
    app = create_app(settings(model_path=registry, state_dir=registry, **changes), load=load)
    async with client_of(app) as client:
        for _ in range(PATIENCE * wait):
            if (await client.get("/readyz")).status_code == 200:
                break
            await asyncio.sleep(0.01)
        yield client


async def version_of(client: httpx.AsyncClient) -> str:
    """Who answers a search."""
    answer = await client.post("/v1/search", json={"query": "a", "limit": 3})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["model"]["version"])


async def until(client: httpx.AsyncClient, prefix: str) -> None:
    """Return once a version that begins like this answers; fail after a while."""
    for _ in range(PATIENCE):
        if (await version_of(client)).startswith(prefix):
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{prefix} did not become live")
