"""Tiers of entity records keep one contract: memory, and Redis alone, with a password, TLS, a cluster or Sentinel."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from redis.asyncio import Redis
from redis_server import (
    redis_cluster,
    redis_sentinel,
    redis_tier,
    redis_with_password,
    redis_with_tls,
)

from app.entities.memory import MemoryTier
from app.entities.redis import RedisTier, pack, unpack
from app.entities.tier import TierError

pytestmark = pytest.mark.anyio
RECORDS = {"f1": b"one", "f2": b"\x00two\xff", "ключ/3": b"three" * 300}
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


async def test_a_memory_tier_of_size_zero_holds_nothing():
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
def test_foreign_bytes_are_not_a_record(value):
    assert unpack(value) is None


async def test_foreign_bytes_in_redis_are_a_miss_and_the_rest_is_returned(redis_url):
    tier = redis_tier(redis_url, version="v9")
    await tier.put({"good": b"one"})
    async with Redis.from_url(redis_url) as raw:
        await raw.set("unirank:v9:entity:bad", b"garbage")
    with pytest.raises(TierError) as caught:
        await tier.get(["good", "bad"])
    assert caught.value.found == {"good": b"one"}
    await tier.close()


async def test_a_redis_with_a_certificate_of_an_unknown_authority_is_not_used():
    with redis_with_tls() as url:
        tier = redis_tier(url.partition("?")[0])
        with pytest.raises(TierError):
            await tier.put(RECORDS)
        with pytest.raises(TierError):
            await tier.get(list(RECORDS))
        await tier.close()
