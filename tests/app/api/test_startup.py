"""A service answers probes at once, serves when its model is loaded and warmed up, and says why when it is not."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import httpx
import pytest
from app_fakes import FakeModel, client_of, settings

from app.errors import ModelNotFoundError
from app.main import create_app
from app.models.loading import find_model

pytestmark = pytest.mark.anyio


@pytest.fixture
def folder(tmp_path):
    """What passes for a model folder where loading it is faked."""
    (tmp_path / "manifest.json").write_text("{}")
    return tmp_path


async def until_ready(client: httpx.AsyncClient) -> httpx.Response:
    for _ in range(200):
        response = await client.get("/readyz")
        if response.status_code == 200:
            break
        await asyncio.sleep(0.01)
    return response


async def test_the_service_is_live_at_once_and_ready_when_the_model_is_loaded(folder):
    def load(_: Path) -> FakeModel:
        time.sleep(0.2)
        return FakeModel()

    async with client_of(create_app(settings(model_path=folder), load=load)) as client:
        assert (await client.get("/livez")).status_code == 200
        waiting = await client.get("/readyz")
        assert waiting.status_code == 503
        assert waiting.json()["detail"] == "loading model"
        assert waiting.headers["retry-after"] == "1"
        refused = await client.post("/v1/rank", json={"context": {"task": "search"}})
        assert refused.status_code == 503
        assert (await client.get("/")).status_code == 200
        ready = await until_ready(client)
        assert ready.json() == {"status": "ready", "model": {"version": "v-fake", "checksum": "c0ffee"}}
        assert (await client.post("/v1/rank", json={"context": {"task": "search"}})).status_code == 200


async def test_each_task_is_ranked_once_before_the_service_is_ready(folder):
    model = FakeModel()
    async with client_of(create_app(settings(model_path=folder), load=lambda _: model)) as client:
        await until_ready(client)
        assert model.scored == 60 + 60 + 59


async def test_readyz_says_why_a_model_cannot_be_loaded(folder):
    def load(_: Path) -> FakeModel:
        raise ValueError("weights.safetensors is cut off")

    async with client_of(create_app(settings(model_path=folder), load=load)) as client:
        await asyncio.sleep(0.05)
        response = await client.get("/readyz")
        assert response.status_code == 503
        assert "weights.safetensors is cut off" in response.json()["detail"]
        assert (await client.get("/livez")).status_code == 200


async def test_shutting_down_while_the_model_loads_is_quick(folder):
    began = time.monotonic()
    async with client_of(create_app(settings(model_path=folder), load=lambda _: time.sleep(0.3) or FakeModel())):
        await asyncio.sleep(0.01)
    assert time.monotonic() - began < 1


def test_the_model_path_is_a_model_or_a_folder_of_models_with_a_live_one(tmp_path):
    with pytest.raises(ModelNotFoundError, match="UNIRANK_MODEL_PATH"):
        find_model(None)
    with pytest.raises(ModelNotFoundError, match="is not a folder"):
        find_model(tmp_path / "nope")
    with pytest.raises(ModelNotFoundError, match=r"manifest\.json"):
        find_model(tmp_path)
    (tmp_path / "v2").mkdir()
    (tmp_path / "v2" / "manifest.json").write_text("{}")
    assert find_model(tmp_path / "v2") == tmp_path / "v2"
    (tmp_path / "LIVE").write_text("v2\n")
    assert find_model(tmp_path) == tmp_path / "v2"
