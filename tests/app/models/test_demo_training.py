"""The demo's model: trained where there is none and the settings ask for it, with the reason in /readyz meanwhile."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest
from app_fakes import FakeModel
from model_registry import PATIENCE, service, version_of

from app.models import demo_training
from app.models.registry import LIVE, MANIFEST

pytestmark = pytest.mark.anyio


def trained(folder: Path) -> None:
    """What the demo's command leaves behind, as far as the service reads it."""
    (folder / "demo" / "model").mkdir(parents=True)
    (folder / "demo" / "model" / MANIFEST).write_text("{}")


async def detail(registry: Path, wanted: str, code: int) -> str:
    """What /readyz says of a service without a model, once it says `wanted`."""
    async with service(registry, lambda _: FakeModel(), wait=False, demo_if_empty=True) as client:
        for _ in range(PATIENCE):
            ready = await client.get("/readyz")
            if ready.status_code == code and wanted in ready.text:
                return await version_of(client) if code == 200 else str(ready.json()["detail"])
            await asyncio.sleep(0.01)
    raise AssertionError(ready.text)


async def test_a_model_is_trained_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        trained(tmp_path)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    assert await detail(tmp_path, "", 200) == "v-fake"
    assert await detail(tmp_path, "", 200) == "v-fake"  # there is one now
    assert [command[1:4] for command in commands] == [["-m", "app.cli", "demo"]]
    assert (tmp_path / LIVE).read_text() == "demo/model\n"


async def test_a_training_that_fails_is_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no room')"]
    run = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda _, **options: run(command, **options))
    said = await detail(tmp_path, "could not be", 503)
    assert "the model could not be loaded: the demo's model could not be trained: no room" in said
    assert not (tmp_path / LIVE).exists()


async def test_the_reason_says_that_it_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(folder: Path) -> None:
        time.sleep(0.5)
        trained(folder)

    monkeypatch.setattr(demo_training, "make_demo", train)
    assert "training the demo's first" in await detail(tmp_path, "training the demo", 503)
