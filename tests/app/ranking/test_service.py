"""With a real model, the three surfaces answer, and the order is the same whichever tier the records come from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest
from redis_server import real_redis

from app.main import create_app
from app.settings import Settings
from model.artefact.model import Artefact
from model.context.context import Context
from model.learning.calibration import Calibration, Curve, liking

Body = dict[str, Any]


@asynccontextmanager
async def service(artefact: Artefact, **settings: object) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the app with the artefact live."""
    app = create_app(Settings.model_validate(settings), artefact)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield client


def run(test: Callable[[httpx.AsyncClient], Any], artefact: Artefact, **settings: object) -> Any:
    async def main() -> Any:
        async with service(artefact, **settings) as client:
            return await test(client)

    return asyncio.run(main())


async def post(client: httpx.AsyncClient, path: str, body: Body) -> Body:
    answer = await client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    result: Body = answer.json()
    return result


def a_film(artefact: Artefact) -> str:
    return artefact.catalogue.ids[7]


def test_search_finds_an_entity_by_a_prefix_of_its_name(artefact: Artefact) -> None:
    film = a_film(artefact)
    name = artefact.catalogue.names[film]

    async def search(client: httpx.AsyncClient) -> Body:
        return await post(client, "/v1/search", {"query": name[:-1], "limit": 10})

    answer = run(search, artefact)
    assert film in [item["id"] for item in answer["items"]]
    assert answer["context"]["imputed"]["source_entity_id"] == {"value": None, "rule": "null_source"}


def test_scores_take_into_account_how_much_of_the_history_was_liked(artefact: Artefact) -> None:
    """The served score is the logit plus the weight times the liking of the user's newest events."""
    curve = Curve(1.0, (0.0,), (0.0,), weight=0.7, newest=8)
    contents = replace(artefact.contents, calibration=Calibration({"homepage": curve}))
    user = artefact.sample_users(9)[-1]
    history = artefact.history(user)
    film = a_film(artefact)

    async def rank(client: httpx.AsyncClient) -> Body:
        return await post(client, "/v1/rank", {"context": {"task": "homepage", "user_id": user}, "candidates": [film]})

    score = run(rank, Artefact(contents))["items"][0]["score"]
    logits = artefact.score(artefact.fill(Context("homepage", user, history=history)), [film])
    odds = np.log(score / (1 - score))
    assert odds == pytest.approx(float(logits[0]) + 0.7 * liking(history[-8:]), abs=1e-3)
    assert liking(history[-8:]) != 0


def test_more_like_this_uses_the_name_of_the_source_and_leaves_it_out(artefact: Artefact) -> None:
    film = a_film(artefact)

    async def like(client: httpx.AsyncClient) -> Body:
        return await post(client, f"/v1/more-like-this/{film}", {"limit": 20})

    answer = run(like, artefact)
    assert film not in [item["id"] for item in answer["items"]]
    assert answer["context"]["imputed"]["query"]["rule"] == "source_display_name"


def test_homepage_drops_what_the_user_has_seen(artefact: Artefact) -> None:
    user = artefact.sample_users(3)[-1]
    seen = {event.entity_id for event in artefact.history(user)}

    async def home(client: httpx.AsyncClient) -> Body:
        return await post(client, "/v1/homepage", {"user_id": user})

    row = run(home, artefact)["rows"][0]
    assert row["items"]
    assert not seen & {item["id"] for item in row["items"]}
    assert row["context"]["imputed"]["query"]["rule"] == "last_engaged_display_name"


@pytest.mark.parametrize("task", ["search", "homepage", "more_like_this"])
def test_same_order_with_redis_without_and_with_redis_stopped_in_between(artefact: Artefact, task: str) -> None:
    """Memory is too small to hold anything, so records come from Redis, or are computed where it is gone."""
    user, film = artefact.sample_users(3)[-1], a_film(artefact)
    context = {"task": task, "user_id": user, "query": None, "source_entity_id": film if task != "homepage" else None}
    if task == "search":
        context = {"task": task, "user_id": user, "query": artefact.catalogue.names[film]}
    body = {"context": context, "candidates": artefact.catalogue.ids[:100]}

    async def rank(client: httpx.AsyncClient) -> list[tuple[str, float]]:
        answer = await post(client, "/v1/rank", body)
        return [(item["id"], item["score"]) for item in answer["items"]]

    async def rank_with_a_stop(client: httpx.AsyncClient) -> list[list[tuple[str, float]]]:
        first = await rank(client)
        await asyncio.sleep(0.2)  # records are written back behind the answer
        cached = await rank(client)
        server.terminate()
        return [first, cached, await rank(client)]

    embedded = run(rank, artefact)
    source_is_a_candidate = task == "more_like_this"
    assert len(embedded) == 100 - source_is_a_candidate
    assert not source_is_a_candidate or film not in dict(embedded)  # a source is no candidate of itself
    with real_redis() as server:
        answers = run(rank_with_a_stop, artefact, redis_url=server.connection_url, memory_entities=0)
    assert answers == [embedded] * 3
