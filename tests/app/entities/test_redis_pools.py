"""Many callers share few Redis connections: a caller without one waits, and a failing node, part or caller costs only
itself.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager

import pytest
from app_fakes import Clock, FakeModel, client_of, settings
from redis import Redis
from redis.asyncio.sentinel import SentinelConnectionPool
from redis_server import HALVES, canned_redis, real_redis, redis_cluster, redis_sentinel, two_nodes
from server_process import free_port

from app.entities import redis as tier_module
from app.entities.redis import READ_AT_ONCE, RedisTier
from app.entities.redis_client import CONNECTIONS
from app.entities.redis_node import BusyError, RedisNode
from app.entities.tier import TierError
from app.main import create_app

pytestmark = pytest.mark.anyio

RECORDS = {f"f{number}": str(number).encode() * 20 for number in range(40)}
PAUSE_MS = 60


@contextmanager
def one():
    with real_redis() as server:
        yield server.connection_url


@pytest.fixture(params=[one, redis_cluster, redis_sentinel], ids=["one", "cluster", "sentinel"])
def url(request):
    with request.param() as url:
        yield url


def tier_of(url: str, version: str = "v1", timeout_ms: int = 2_000, **options) -> RedisTier:
    return RedisTier(url, version, timeout_ms, 60, options.pop("clock", time.monotonic), **options)


async def primary_of(tier: RedisTier) -> Redis:
    """A client of its own for the server behind a tier of any kind."""
    client = tier._client
    if isinstance(getattr(client, "connection_pool", None), SentinelConnectionPool):
        _, port = await client.connection_pool.get_master_address()
    elif hasattr(client, "connection_pool"):
        port = client.connection_pool.connection_kwargs["port"]
    else:
        port = client.get_primaries()[0].port
    return Redis(port=port)


# ---- connections --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("callers", [30, 200])
async def test_a_caller_without_a_free_connection_waits(url, callers):
    tier = tier_of(url)
    await tier.put(RECORDS)
    with await primary_of(tier) as server:
        server.client_pause(PAUSE_MS)  # all who ask now hold their connection for as long
        gets = (tier.get(["f1", "f2"]) for _ in range(callers))
        assert await asyncio.gather(*gets) == [{name: RECORDS[name] for name in ("f1", "f2")}] * callers
        connected = [entry for entry in server.client_list() if entry["cmd"] in ("mget", "get")]
    assert 0 < len(connected) <= CONNECTIONS
    await tier.close()


async def test_writes_wait_for_a_connection_too(url):
    tier = tier_of(url)
    await tier.put(RECORDS)
    with await primary_of(tier) as server:
        server.client_pause(PAUSE_MS)
        await asyncio.gather(
            *(tier.put({f"p{n}": b"record"}) for n in range(40)), *(tier.get(["f1"]) for _ in range(40))
        )
    assert len(await tier.get([f"p{n}" for n in range(40)])) == 40
    await tier.close()


async def test_waiting_is_part_of_the_timeout_and_no_fault_of_the_server():
    node, forever = RedisNode(time.monotonic), asyncio.Event()
    held = [asyncio.create_task(node.ask(forever.wait, 60)) for _ in range(CONNECTIONS)]
    await asyncio.sleep(0)
    began = time.monotonic()
    outcome = await asyncio.gather(*(node.judged(forever.wait, 0.05) for _ in range(10)), return_exceptions=True)
    assert time.monotonic() - began < 0.5
    assert {type(error) for error in outcome} == {BusyError}
    assert node.breaker.closed
    forever.set()
    assert await asyncio.gather(*held) == [True] * CONNECTIONS
    assert await node.judged(forever.wait, 0.05)


async def test_a_server_that_does_not_answer_in_time_counts_as_a_failure():
    node, forever = RedisNode(time.monotonic), asyncio.Event()
    await asyncio.gather(*(node.judged(forever.wait, 0.01) for _ in range(3)), return_exceptions=True)
    assert not node.breaker.closed


# ---- callers and trials -------------------------------------------------------------------------------------


async def test_a_caller_who_hangs_up_costs_neither_breaker_nor_connection(redis_url):
    tier = tier_of(redis_url, "gone")
    await tier.put(RECORDS)
    with Redis.from_url(redis_url) as server:
        before = server.info("stats")["total_connections_received"]
        server.client_pause(PAUSE_MS)
        gone = [asyncio.create_task(tier.get(["f1"])) for _ in range(5)]
        await asyncio.sleep(0.02)
        for task in gone:
            task.cancel()
        assert [type(error) for error in await asyncio.gather(*gone, return_exceptions=True)] == [
            asyncio.CancelledError
        ] * 5
        assert tier._first_node.breaker.closed
        assert await tier.get(list(RECORDS)) == RECORDS
        assert tier._first_node.breaker.closed
        assert server.info("stats")["total_connections_received"] - before <= 5
    await tier.close()


async def test_a_silent_server_is_detected_even_when_callers_give_up_earlier():
    async with canned_redis(None) as url:
        tier = tier_of(url, timeout_ms=50)
        for _ in range(3):
            assert await tier.get(["f1"], within_s=0.002) == {}
        await asyncio.gather(*tier._reads, return_exceptions=True)
        with pytest.raises(TierError, match="left alone"):
            await tier.get(["f1"], within_s=0.002)
        await tier.close()


async def test_only_one_of_many_callers_is_the_trial_of_the_breaker():
    clock = Clock()
    tier = tier_of(f"redis://127.0.0.1:{free_port()}", clock=clock)
    await asyncio.gather(*(tier.get(["f1"]) for _ in range(3)), return_exceptions=True)
    asked = []

    async def ask(*_: object) -> list[object]:
        asked.append(1)
        await asyncio.sleep(0.01)
        raise ConnectionError("still gone")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tier_module, "read_many", ask)
        for _ in range(3):
            clock.now += 1.0
            errors = await asyncio.gather(*(tier.get(["f1"]) for _ in range(50)), return_exceptions=True)
            assert {type(error) for error in errors} == {TierError}
    assert len(asked) == 3
    await tier.close()


# ---- parts --------------------------------------------------------------------------------------------------


async def test_five_thousand_records_come_in_parts_and_a_usual_ranking_in_one(redis_url):
    tier = tier_of(redis_url, "parts")
    many = {f"m{number}": b"record" for number in range(5_000)}
    await tier.put(many)
    with Redis.from_url(redis_url) as server:
        for count, trips in ((5_000, 5), (READ_AT_ONCE, 1), (551, 1)):
            server.config_resetstat()
            assert len(await tier.get(list(many)[:count])) == count
            assert server.info("commandstats")["cmdstat_mget"]["calls"] == trips
    await tier.close()


async def parts_that_take(seconds: list[float], monkeypatch) -> tuple[RedisTier, list[str]]:
    """A tier whose replies take so long, one after the other, and the ids to ask it for."""
    left = list(seconds)

    async def reply(_: object, keys: list[str]) -> list[object]:
        await asyncio.sleep(left.pop(0))
        return [tier_module.pack(b"record")] * len(keys)

    monkeypatch.setattr(tier_module, "read_many", reply)
    return tier_of("redis://127.0.0.1:1", timeout_ms=50), [f"m{n}" for n in range(READ_AT_ONCE * len(seconds))]


async def test_each_part_has_the_time_of_an_answer(monkeypatch):
    tier, ids = await parts_that_take([0.02] * 5, monkeypatch)
    assert len(await tier.get(ids)) == 5 * READ_AT_ONCE
    assert tier._first_node.breaker.closed
    await tier.close()


async def test_a_part_that_is_too_slow_leaves_those_before_it(monkeypatch):
    tier, ids = await parts_that_take([0, 0, 5, 0], monkeypatch)
    with pytest.raises(TierError, match="TimeoutError") as caught:
        await tier.get(ids)
    assert len(caught.value.found) == 2 * READ_AT_ONCE
    assert tier._first_node.breaker.closed
    await tier.close()


async def test_records_that_arrive_in_time_are_returned_in_time(monkeypatch):
    tier, ids = await parts_that_take([0, 0, 0.03, 0.03], monkeypatch)
    began = time.monotonic()
    assert len(await tier.get(ids, within_s=0.015)) == 2 * READ_AT_ONCE
    assert time.monotonic() - began < 0.5
    await tier.close()


# ---- a node that is gone ------------------------------------------------------------------------------------


async def test_a_node_that_is_gone_costs_its_own_records_until_another_has_them():
    with two_nodes() as (url, (stays, goes)):
        tier = tier_of(url)
        await tier.put(RECORDS)
        assert await tier.get(list(RECORDS)) == RECORDS
        goes.terminate()
        for _ in range(8):
            with pytest.raises(TierError) as caught:
                await tier.get(list(RECORDS))
            assert 0 < len(caught.value.found) < len(RECORDS)
        with pytest.raises(TierError, match="left alone"):
            await tier.get(list(RECORDS))
        with stays.client() as client:  # as after a failover: its slots have another home
            client.execute_command("CLUSTER DELSLOTSRANGE", *HALVES[1])
            client.execute_command("CLUSTER ADDSLOTSRANGE", *HALVES[1])
        began = time.monotonic()
        while True:
            try:
                assert set(await tier.get(list(RECORDS))) == set(caught.value.found)
                break
            except TierError:
                assert time.monotonic() - began < 10
                await asyncio.sleep(0.05)
        await tier.put(RECORDS)
        assert await tier.get(list(RECORDS)) == RECORDS
        await tier.close()


async def test_a_sentinel_that_is_down_is_skipped():
    with redis_sentinel() as url:
        tier = tier_of(url.replace("://", f"://127.0.0.1:{free_port()},"), timeout_ms=50)
        for _ in range(100):
            try:
                await tier.get(["f1"])
                break
            except TierError:
                await asyncio.sleep(0.05)
        assert await tier.get(["f1"]) == {}
        await tier.close()


# ---- lifetimes and leaks ------------------------------------------------------------------------------------


async def test_records_written_together_expire_at_different_times(redis_url):
    drawn = iter([0.0, 0.5, 0.99])
    tier = RedisTier(redis_url, "ttl", 2_000, 10_000, time.monotonic, lambda: next(drawn))
    await tier.put({"a": b"one", "b": b"two", "c": b"three"})
    with Redis.from_url(redis_url) as server:
        lifetimes = [server.ttl(f"unirank:ttl:entity:{name}") for name in "abc"]
    assert lifetimes == pytest.approx([10_000, 9_500, 9_010], abs=5)
    await tier.close()


async def test_a_model_whose_warm_up_fails_leaves_no_connection(tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    model = FakeModel()
    model.crash = ValueError("it cannot score")
    with real_redis() as server, server.client() as client:
        changes = {"model_path": tmp_path, "redis_url": server.connection_url, "memory_entities": 0}
        app = create_app(settings(**changes), load=lambda _: model)
        async with client_of(app):
            while "cannot score" not in app.state.serving.reason:
                await asyncio.sleep(0.01)
            while len(client.client_list()) > 1:
                await asyncio.sleep(0.01)
            assert client.info("stats")["total_connections_received"] > 1
