"""Every request is counted and timed, whether it succeeds or fails; each application has metrics of its own."""

from __future__ import annotations

import httpx
import pytest
from app_fakes import FakeModel, app_of, client_of
from prometheus_client.parser import text_string_to_metric_families

pytestmark = pytest.mark.anyio


async def metrics_of(client: httpx.AsyncClient) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    text = (await client.get("/metrics")).text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_metrics_count_every_request_success_or_not():
    model = FakeModel()
    async with client_of(app_of(model)) as client:
        await client.post("/v1/search", json={"query": "toy", "user_id": "u1"})
        await client.post("/v1/more-like-this/nope")
        await client.post("/v1/rank", content=b"{")
        await client.get("/nowhere/else")
        model.crash = RuntimeError("boom")
        await client.post("/v1/rank", json={"context": {"task": "homepage"}})
        found = await metrics_of(client)

    def value(name: str, **labels: str) -> float | None:
        return found.get((name, frozenset(labels.items())))

    assert value("unirank_requests_total", route="/v1/search", status="200") == 1
    assert value("unirank_requests_total", route="/v1/more-like-this/{entity_id}", status="404") == 1
    assert value("unirank_requests_total", route="/v1/rank", status="400") == 1
    assert value("unirank_requests_total", route="/v1/rank", status="500") == 1
    assert value("unirank_requests_total", route="unmatched", status="404") == 1
    assert value("unirank_errors_total", code="malformed_body") == 1
    assert value("unirank_errors_total", code="internal") == 1
    assert value("unirank_request_seconds_count", route="/v1/rank") == 2
    for stage in ("parse", "records", "score", "rerank", "total"):
        assert value("unirank_ranking_seconds_count", task="search", stage=stage) == 1
        assert value("unirank_ranking_seconds_count", task="homepage", stage=stage) == 1
    assert value("unirank_records_total", tier="memory") == 60 + 60  # candidates; retrieval read the history
    assert value("unirank_imputed_total", task="search", field="country", rule="null_country") == 1
    assert value("unirank_model_info", version="v-fake", checksum="c0ffee") == 1
    assert value("unirank_rankings_under_way") == 0


async def test_two_applications_do_not_share_metrics():
    async with client_of(app_of()) as first, client_of(app_of()) as second:
        await first.get("/livez")
        labels = frozenset({"route": "/livez", "status": "200"}.items())
        assert ("unirank_requests_total", labels) not in await metrics_of(second)


async def test_server_timing_names_the_stages():
    async with client_of(app_of()) as client:
        header = (await client.get("/v1/search?q=toy")).headers["server-timing"]
    assert [part.split(";")[0].strip() for part in header.split(",")] == [
        "parse",
        "records",
        "score",
        "rerank",
        "total",
    ]
