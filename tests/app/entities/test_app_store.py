"""Entity records: the contract of the tiers, and the same order with Redis well, sick, killed, back."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest
from app_fakes import FILMS, Clock, FakeModel, app_of, client_of, settings
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis
from redis_server import canned_redis, real_redis, redis_cluster, redis_sentinel, redis_with_password, redis_with_tls

from app.entities.circuit_breaker import Breaker
from app.entities.memory import MemoryTier
from app.entities.redis import RedisTier, pack, unpack
from app.entities.redis_client import connect
from app.entities.store import EntityStore
from app.entities.tier import TierError
from app.execution.worker_thread import ComputeThread
from app.main import create_app
from app.observability.metrics import Telemetry

pytestmark = pytest.mark.anyio

RECORDS = {"f1": b"one", "f2": b"\x00two\xff", "ключ/3": b"three" * 300}
CANDIDATES = [f"f{number}" for number in range(30)]


@pytest.fixture(scope="module")
def redis_url():
    with real_redis() as server:
        yield server.connection_url


URLS = {
    "password": redis_with_password, "tls": redis_with_tls, "cluster": redis_cluster, "sentinel": redis_sentinel,
}  # fmt: skip


@pytest.fixture(params=["memory", "redis", *URLS])
async def tier(request, redis_url):
    with contextlib.ExitStack() as stack:
        if request.param == "memory":
            tier = MemoryTier(100)
        elif request.param == "redis":
            tier = redis_tier(redis_url)
        else:
            tier = redis_tier(stack.enter_context(URLS[request.param]()))
            await until_it_answers(tier)
        yield tier
        await tier.close()


async def until_it_answers(tier: RedisTier) -> None:
    """Fifty milliseconds may not be enough for the first look at a cluster."""
    for _ in range(100):
        with contextlib.suppress(TierError):
            await tier.get(["anything"])
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it never answered")


def redis_tier(url: str, version: str = "v1", ttl_s: int = 60) -> RedisTier:
    return RedisTier(url, version, 50, ttl_s, time.monotonic)


async def test_contract_what_was_put_is_got_back(tier):
    await tier.put(RECORDS)
    assert await tier.get([*RECORDS, "f9"]) == RECORDS


async def test_contract_the_last_put_counts(tier):
    await tier.put({"f1": b"old"})
    await tier.put({"f1": b"new"})
    assert await tier.get(["f1"]) == {"f1": b"new"}


async def test_contract_many_at_once(tier):
    many = {f"m{number}": str(number).encode() for number in range(90)}
    await tier.put(many)
    assert await tier.get(list(many)) == many


async def test_contract_unknown_ids_are_left_out(tier):
    assert await tier.get(["never"]) == {}


async def test_memory_forgets_what_was_unused_for_longest():
    tier = MemoryTier(2)
    await tier.put({"a": b"1", "b": b"2"})
    await tier.get(["a"])
    await tier.put({"c": b"3"})
    assert await tier.get(["a", "b", "c"]) == {"a": b"1", "c": b"3"}
    assert len(tier) == 2


async def test_memory_of_nothing_holds_nothing():
    tier = MemoryTier(0)
    await tier.put({"a": b"1"})
    assert await tier.get(["a"]) == {}


async def test_redis_keys_carry_the_version_and_a_lifetime(redis_url):
    tier = redis_tier(redis_url, version="v7", ttl_s=60)
    await tier.put({"f1": b"one"})
    async with Redis.from_url(redis_url) as raw:
        assert 0 < await raw.ttl("unirank:v7:entity:f1") <= 60
        assert unpack(await raw.get("unirank:v7:entity:f1")) == b"one"
    await tier.close()
    other = redis_tier(redis_url, version="v8")
    assert await other.get(["f1"]) == {}
    await other.close()


@pytest.mark.parametrize("value", [b"", b"abc", b"1234", b"garbage garbage", pack(b"record")[:-1], None, 3])
def test_garbage_is_not_a_record(value):
    assert unpack(value) is None


async def test_garbage_is_a_miss_and_the_rest_is_kept(redis_url):
    tier = redis_tier(redis_url, version="v9")
    await tier.put({"good": b"one"})
    async with Redis.from_url(redis_url) as raw:
        await raw.set("unirank:v9:entity:bad", b"garbage")
    with pytest.raises(TierError) as caught:
        await tier.get(["good", "bad"])
    assert caught.value.found == {"good": b"one"}
    await tier.close()


def test_breaker_opens_after_failures_in_a_row_and_tries_once_a_pause():
    clock = Clock()
    breaker = Breaker(clock, limit=3, pause_s=1.0)
    for _ in range(2):
        breaker.failed()
    breaker.succeeded()
    for _ in range(3):
        assert breaker.allows()
        breaker.failed()
    assert not breaker.allows()
    clock.now += 1.0
    assert breaker.allows()
    assert not breaker.allows()
    clock.now += 1.0
    assert breaker.allows()
    breaker.succeeded()
    assert breaker.closed
    assert breaker.allows()


def store_of(model: FakeModel, memory: int, redis: RedisTier | None) -> EntityStore:
    telemetry = Telemetry(CollectorRegistry())
    return EntityStore(model, MemoryTier(memory), memory, redis, ComputeThread(), telemetry)


async def test_without_redis_nothing_is_computed_that_the_model_holds():
    model = FakeModel()
    gathered = await store_of(model, 0, None).gather([*CANDIDATES, "nope"], ["f40", "nobody"])
    assert [entity_id for entity_id, _ in gathered.candidates] == CANDIDATES
    assert gathered.unknown == ["nope"]
    assert [entity_id for entity_id, _ in gathered.side] == gathered.side_ids == ["f40"]
    assert model.computed == []


async def test_a_small_memory_goes_to_redis_then_computes_once(redis_url):
    model = FakeModel()
    store = store_of(model, 0, redis_tier(redis_url, version="once"))
    first = await store.gather([*CANDIDATES, "nope"], ["f1", "f40", "nobody"])
    await store.settle()
    second = await store.gather(CANDIDATES, ["f1"])
    assert first.candidates == second.candidates
    assert [entity_id for entity_id, _ in first.candidates] == CANDIDATES
    assert (first.unknown, first.side_ids, second.side_ids) == (["nope"], ["f1", "f40"], ["f1"])
    assert [entity_id for entity_id, _ in first.side] == first.side_ids
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


async def test_a_catalogue_that_fits_into_memory_asks_nobody():
    model = FakeModel()
    store = store_of(model, FILMS, redis_tier("redis://127.0.0.1:1", version="none"))
    gathered = await store.gather(CANDIDATES, ["f50"])
    assert (len(gathered.candidates), gathered.side_ids, gathered.degraded, model.computed) == (30, ["f50"], False, [])


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


async def rank(client) -> tuple[list[str], list[str], float]:
    began = time.monotonic()
    context = {"task": "search", "query": "toy", "user_id": "u1"}
    response = await client.post("/v1/rank", json={"context": context, "candidates": CANDIDATES})
    assert response.status_code == 200, response.text
    answer = response.json()
    return [item["id"] for item in answer["items"]], answer["degraded"], time.monotonic() - began


async def expected_order() -> list[str]:
    async with client_of(app_of(FakeModel())) as client:
        return (await rank(client))[0]


async def test_what_several_miss_at_once_is_computed_once(redis_url):
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
        await app.state.live.serving.store.settle()
    assert [entity_id for entity_id in model.computed if entity_id in ids] == ids


@pytest.mark.parametrize(
    "url", ["redis+sentinel://127.0.0.1:26379", "redis+sentinel://127.0.0.1/films", "ftp://127.0.0.1", "nonsense"]
)
def test_a_bad_url_is_refused_at_once(url):
    with pytest.raises(ValueError, match=r"Sentinel|scheme|URL"):
        connect(url, 0.05)


async def test_the_order_is_the_same_with_and_without_redis(redis_url):
    expected = await expected_order()
    async with client_of(app_of(FakeModel(), redis_url=redis_url, memory_entities=0)) as client:
        computed = await rank(client)
        await client._transport.app.state.live.serving.store.settle()
        cached = await rank(client)
    assert computed[:2] == cached[:2] == (expected, [])


async def test_the_order_is_the_same_with_redis_behind_tls():
    expected = await expected_order()
    with redis_with_tls() as url:
        async with client_of(app_of(FakeModel(), redis_url=url, memory_entities=0)) as client:
            for _ in range(20):  # a handshake may take longer than an answer may
                order, degraded, _ = await rank(client)
                assert order == expected
                await client._transport.app.state.live.serving.store.settle()
                if not degraded:
                    break
                await asyncio.sleep(0.2)
            cached = await rank(client)
    assert cached[:2] == (expected, [])


async def test_a_redis_of_an_unknown_authority_is_not_believed():
    with redis_with_tls() as url:
        tier = redis_tier(url.partition("?")[0])
        with pytest.raises(TierError):
            await tier.put(RECORDS)
        with pytest.raises(TierError):
            await tier.get(list(RECORDS))
        await tier.close()


def test_an_authority_is_named_for_sentinels_too():
    client = connect("rediss+sentinel://127.0.0.1:26379/films?ssl_ca_certs=/ca.pem", 0.05)
    kwargs = client.connection_pool.connection_kwargs
    sentinel = client.connection_pool.sentinel_manager.sentinels[0].connection_pool.connection_kwargs
    assert kwargs["ssl_ca_certs"] == sentinel["ssl_ca_certs"] == "/ca.pem"


@pytest.mark.parametrize(
    "reply",
    [
        None,
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
        b"$5\r\nhello\r\n",
        b"*1\r\n$5\r\nhello\r\n",
        b":1\r\n",
        b"\x00\xff garbage \r\n",
    ],
)
async def test_a_sick_redis_costs_a_flag_and_not_the_answer(reply):
    expected = await expected_order()
    async with (
        canned_redis(reply) as url,
        client_of(app_of(FakeModel(), redis_url=url, memory_entities=0)) as client,
    ):
        for _ in range(5):
            order, degraded, seconds = await rank(client)
            assert order == expected
            assert degraded == ["cache_unavailable"]
            assert seconds < 0.5
        quickest = min([(await rank(client))[2] for _ in range(3)])
        assert quickest < 0.05  # the breaker is open: no waiting at all
        assert (await client.get("/readyz")).status_code == 200


async def test_a_service_gets_ready_while_redis_is_silent(tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    async with canned_redis(None) as url:
        app = create_app(settings(model_path=tmp_path, redis_url=url, memory_entities=0), load=lambda _: FakeModel())
        began = time.monotonic()
        async with client_of(app) as client:
            while (await client.get("/readyz")).status_code != 200:
                assert time.monotonic() - began < 2
                await asyncio.sleep(0.01)
            asked = time.monotonic()
            assert (await client.get("/readyz")).status_code == 200
            assert time.monotonic() - asked < 0.05


async def test_a_refused_port_costs_a_flag_and_not_the_answer():
    expected = await expected_order()
    app = app_of(FakeModel(), redis_url="redis://127.0.0.1:1", memory_entities=0)
    async with client_of(app) as client:
        order, degraded, seconds = await rank(client)
        assert (order, degraded) == (expected, ["cache_unavailable"])
        assert seconds < 0.5


async def test_redis_killed_under_load_and_back_on_the_same_port():
    expected = await expected_order()
    with real_redis() as first:
        port = first.port
        app = app_of(FakeModel(), redis_url=first.connection_url, memory_entities=0)
        async with client_of(app) as client:
            assert (await rank(client))[:2] == (expected, [])
            first.terminate()
            for _ in range(10):
                order, degraded, _ = await rank(client)
                assert (order, degraded) == (expected, ["cache_unavailable"])
            with real_redis(port):
                await asyncio.sleep(1.1)
                for _ in range(3):
                    recovered = await rank(client)
                assert recovered[:2] == (expected, [])
