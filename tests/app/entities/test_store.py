"""The entity store looks in process memory, then in Redis, then computes what is missing, each record once."""

from __future__ import annotations

import asyncio

import pytest
from app_fakes import FILMS, FakeModel, app_of, client_of
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis
from redis_server import (
    canned_redis,
    redis_tier,
)

from app.entities.memory import MemoryTier
from app.entities.redis import RedisTier
from app.entities.store import EntityStore
from app.execution.worker_thread import WorkerThread
from app.observability.metrics import Metrics

pytestmark = pytest.mark.anyio
CANDIDATES = [f"f{number}" for number in range(30)]


def store_of(model: FakeModel, memory: int, redis: RedisTier | None) -> EntityStore:
    metrics = Metrics(CollectorRegistry())
    return EntityStore(model, MemoryTier(memory), memory, redis, WorkerThread(), metrics)


async def test_without_redis_nothing_is_computed_that_the_model_holds():
    model = FakeModel()
    gathered = await store_of(model, 0, None).gather([*CANDIDATES, "nope"], ["f40", "nobody"])
    assert [entity_id for entity_id, _ in gathered.candidates] == CANDIDATES
    assert gathered.unknown == ["nope"]
    assert [entity_id for entity_id, _ in gathered.context.records] == gathered.context.ids == ["f40"]
    assert model.computed == []


async def test_a_small_memory_goes_to_redis_then_computes_once(redis_url):
    model = FakeModel()
    store = store_of(model, 0, redis_tier(redis_url, version="once"))
    first = await store.gather([*CANDIDATES, "nope"], ["f1", "f40", "nobody"])
    await store.settle()
    second = await store.gather(CANDIDATES, ["f1"])
    assert first.candidates == second.candidates
    assert [entity_id for entity_id, _ in first.candidates] == CANDIDATES
    assert (first.unknown, first.context.ids, second.context.ids) == (["nope"], ["f1", "f40"], ["f1"])
    assert [entity_id for entity_id, _ in first.context.records] == first.context.ids
    assert model.computed == ["f1", "f40", "nobody", *(f for f in CANDIDATES if f != "f1"), "nope"]  # the side first
    assert not first.degraded
    assert not second.degraded
    await store.close()


async def test_process_memory_comes_before_redis(redis_url):
    model = FakeModel()
    model.entities.update(FakeModel(2 * FILMS).entities)
    store = store_of(model, 40, redis_tier(redis_url, version="before"))
    await store.gather(CANDIDATES)
    await store.close()  # Redis is gone now: memory alone must do
    assert not (await store.gather(CANDIDATES)).degraded
    assert model.computed == CANDIDATES


async def test_a_catalogue_that_fits_into_memory_never_asks_redis():
    model = FakeModel()
    store = store_of(model, FILMS, redis_tier("redis://127.0.0.1:1", version="none"))
    gathered = await store.gather(CANDIDATES, ["f50"])
    assert (len(gathered.candidates), gathered.context.ids) == (30, ["f50"])
    assert (gathered.degraded, model.computed) == (False, [])


async def test_records_that_redis_does_not_keep_are_reported():
    async with canned_redis(b"-READONLY You can't write against a read only replica.\r\n") as url:
        store = store_of(FakeModel(), 0, redis_tier(url))
        assert (await store.gather(["f1"])).degraded
        await store.close()


async def test_a_redis_that_reads_but_cannot_write_is_reported(redis_url):
    async with Redis.from_url(redis_url) as raw:
        store = store_of(FakeModel(), 0, redis_tier(redis_url, version="full"))
        await raw.config_set("maxmemory", "1")
        try:
            assert not (await store.gather(["f1"])).degraded
            await store.settle()
            assert (await store.gather(["f2"])).degraded
        finally:
            await raw.config_set("maxmemory", "0")
        await store.settle()
        await store.gather(["f3"])
        await store.settle()
        assert not (await store.gather(["f4"])).degraded
        await store.close()


async def test_a_record_that_several_requests_miss_at_once_is_computed_once(redis_url):
    model = FakeModel()
    model.compute_s = 0.1
    app = app_of(model, redis_url=redis_url, memory_entities=0)
    async with client_of(app) as client:
        ids = [f"f{number}" for number in range(40, 50)]
        body = {"context": {"task": "search"}, "candidates": ids}
        gone = asyncio.create_task(client.post("/v1/rank", json=body))
        await asyncio.sleep(0.01)
        others = [asyncio.create_task(client.post("/v1/rank", json=body)) for _ in range(4)]
        await asyncio.sleep(0.01)
        gone.cancel()  # the first to ask leaves: the others still get what it asked for
        assert [(await answer).status_code for answer in others] == [200] * 4
        await app.state.serving.serving.store.settle()
    assert [entity_id for entity_id in model.computed if entity_id in ids] == ids
