"""Records published into Redis are found by the service under its keys, and expire when the setting says."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from redis import Redis
from redis_server import real_redis, redis_cluster
from server_process import free_port
from typer.testing import CliRunner

from app.commands import models
from app.entities.publish import publish
from app.entities.redis import RedisTier, unpack
from model.artefact.model import Artefact
from model.artefact.reading import read


def run(url: str, artefact: Artefact, model_path: Path, ttl_s: int = 100) -> list[tuple[int, int]]:
    steps = []
    done = asyncio.run(publish(read(model_path), url, ttl_s, lambda *step: steps.append(step[:2])))
    assert done.records == artefact.entity_count
    assert done.per_s > 0
    return steps


async def found(url: str, artefact: Artefact, ids: list[str]) -> dict[str, bytes]:
    """What the tier of a service finds."""
    tier = RedisTier(url, artefact.version, 1000, 100, time.monotonic)
    try:
        return await tier.get(ids)
    finally:
        await tier.close()


def test_a_service_finds_every_record(artefact: Artefact, model_path: Path) -> None:
    ids = list(artefact.catalogue.ids)
    with real_redis() as server:
        url = f"redis://127.0.0.1:{server.port}"
        assert run(url, artefact, model_path)[-1] == (len(ids), len(ids))
        held = asyncio.run(found(url, artefact, ids))
        assert held == {entity_id: artefact.record(entity_id) for entity_id in ids}
        assert list(held.values()) == artefact.compute_records(ids)


def test_publishing_again_writes_the_same_and_renews_the_lifetimes(artefact: Artefact, model_path: Path) -> None:
    with real_redis() as server, Redis(port=server.port) as client:
        url = f"redis://127.0.0.1:{server.port}"
        run(url, artefact, model_path, ttl_s=50)
        before = {key: client.get(key) for key in client.scan_iter()}
        assert all(unpack(value) for value in before.values())
        run(url, artefact, model_path, ttl_s=5_000)
        assert {key: client.get(key) for key in client.scan_iter()} == before
        assert all(1_000 < client.ttl(key) <= 5_000 for key in before)


def test_records_are_published_to_a_cluster_too(artefact: Artefact, model_path: Path) -> None:
    ids = list(artefact.catalogue.ids)
    with redis_cluster() as url:
        run(url, artefact, model_path)
        assert len(asyncio.run(found(url, artefact, ids))) == len(ids)


def test_publishing_without_a_redis_is_an_error(model_path: Path) -> None:
    with pytest.raises(ConnectionError, match="redis"):
        asyncio.run(publish(read(model_path), f"redis://127.0.0.1:{free_port()}", 10))


def test_the_command_publishes_and_says_how_many(
    model_path: Path, artefact: Artefact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UNIRANK_REDIS_URL", raising=False)
    ended = CliRunner().invoke(models.app, ["publish", str(model_path)])
    assert "no Redis" in str(ended.exception)
    with real_redis() as server, Redis(port=server.port) as client:
        monkeypatch.setenv("UNIRANK_REDIS_URL", f"redis://127.0.0.1:{server.port}")
        ended = CliRunner().invoke(models.app, ["publish", str(model_path)])
        assert ended.exit_code == 0, ended.output
        assert f"{artefact.version}: {artefact.entity_count} records" in ended.stdout
        assert client.dbsize() == artefact.entity_count
