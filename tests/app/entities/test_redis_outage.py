"""Without Redis, with a slow, silent or broken one, or after a restart, a ranking has the same order and says what is
degraded.
"""

from __future__ import annotations

import asyncio
import time

import pytest
from app_fakes import FakeModel, app_of, client_of, settings
from redis_server import (
    canned_redis,
    real_redis,
    redis_with_tls,
)

from app.main import create_app

pytestmark = pytest.mark.anyio
CANDIDATES = [f"f{number}" for number in range(30)]


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


async def test_the_order_is_the_same_with_and_without_redis(redis_url):
    expected = await expected_order()
    async with client_of(app_of(FakeModel(), redis_url=redis_url, memory_entities=0)) as client:
        computed = await rank(client)
        await client._transport.app.state.serving.serving.store.settle()
        cached = await rank(client)
    assert computed[:2] == cached[:2] == (expected, [])


async def test_the_order_is_the_same_with_redis_behind_tls():
    expected = await expected_order()
    with redis_with_tls() as url:
        async with client_of(app_of(FakeModel(), redis_url=url, memory_entities=0)) as client:
            for _ in range(20):  # a handshake may take longer than an answer may
                order, degraded, _ = await rank(client)
                assert order == expected
                await client._transport.app.state.serving.serving.store.settle()
                if not degraded:
                    break
                await asyncio.sleep(0.2)
            cached = await rank(client)
    assert cached[:2] == (expected, [])


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
async def test_a_failing_redis_degrades_the_answer_and_keeps_its_order(reply):
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


async def test_a_service_becomes_ready_while_redis_does_not_answer(tmp_path):
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


async def test_a_closed_port_degrades_the_answer_and_keeps_its_order():
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
