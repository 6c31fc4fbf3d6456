"""The A/B test: the same arm for the same user everywhere, two versions in answers, an unfit challenger gets nobody."""

from __future__ import annotations

import asyncio
import doctest
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_registry import PATIENCE, registry_of_three, service, until
from typer.testing import CliRunner

from app.cli import app as commands
from app.errors import ModelConflictError
from app.models import ab_test
from app.models.ab_test import arm_of
from app.models.loading import load_model
from app.models.registry import LIVE, SPLIT, ModelRegistry
from app.ranking.model import RankingModel

USERS = [f"user {number}" for number in range(40)]


@pytest.fixture
def registry(model_path: Path, tmp_path: Path) -> Path:
    """`one`, which is live, `two` and `flat`."""
    return registry_of_three(model_path, tmp_path / "models")


# ---- arms ---------------------------------------------------------------------------------------------------


def test_the_example_in_its_docstring_holds() -> None:
    assert doctest.testmod(ab_test).failed == 0


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.9])
def test_ten_thousand_users_are_split_near_the_share(share: float) -> None:
    arms = [arm_of(f"u{number}", "films-1", "films-2", share) for number in range(10_000)]
    deviation = (share * (1 - share) / 10_000) ** 0.5
    assert arms.count("challenger") / 10_000 == pytest.approx(share, abs=4 * deviation)


@given(st.text(), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_moves_nobody_back(user: str, one: float, other: float) -> None:
    low, high = sorted((one, other))
    if arm_of(user, "a", "b", low) == "challenger":
        assert arm_of(user, "a", "b", high) == "challenger"


def test_another_pair_of_models_is_another_draw() -> None:
    users = [f"u{number}" for number in range(10_000)]
    both = sum(arm_of(user, "a", "b", 0.5) == arm_of(user, "a", "c", 0.5) for user in users)
    assert both / 10_000 == pytest.approx(0.5, abs=0.02)


# ---- the file -----------------------------------------------------------------------------------------------


def test_the_registry_splits_and_unsplits(registry: Path) -> None:
    models = ModelRegistry(registry)
    assert models.split() is None
    models.split_users("two", 0.25)
    assert models.split() == (registry / "two", 0.25)
    with pytest.raises(ModelConflictError, match="takes no share"):
        models.unsplit("one")
    models.unsplit("two")
    with pytest.raises(ModelConflictError, match="not split"):
        models.unsplit()
    with pytest.raises(ModelConflictError, match="is live"):
        models.split_users("one", 0.25)
    with pytest.raises(ValueError, match="above 0 and below 1, got 1"):
        models.split_users("two", 1)


@pytest.mark.parametrize("text", ["", "two", "two x", "0.5", "two 0", "two 1", "two nan", "two -1", "two 20%"])
def test_a_file_without_a_share_splits_nothing(registry: Path, text: str) -> None:
    (registry / SPLIT).write_text(text)
    assert ModelRegistry(registry).split() is None


def test_going_to_another_model_ends_a_split(registry: Path) -> None:
    models = ModelRegistry(registry)
    models.split_users("flat", 0.5)
    models.activate("two")
    assert models.split() is None


def test_users_are_split_by_commands(registry: Path) -> None:
    run = CliRunner().invoke
    assert run(commands, ["models", "split", str(registry), "two", "--share", "0.2"]).exit_code == 0
    assert (registry / SPLIT).read_text() == "two 0.2\n"
    assert "0.2 of the users" in " ".join(run(commands, ["models", "list", str(registry)]).stdout.split())
    refused = run(commands, ["models", "split", str(registry), "flat", "--share", "0.2"])
    assert "same score" in str(refused.exception)
    assert (registry / SPLIT).read_text() == "two 0.2\n"
    assert run(commands, ["models", "unsplit", str(registry)]).exit_code == 0
    assert not (registry / SPLIT).exists()


# ---- in a running service -----------------------------------------------------------------------------------


async def model_of(client: httpx.AsyncClient, user: str | None, **more: object) -> dict[str, Any]:
    """What an answer says of its model."""
    answer = await client.post("/v1/search", json={"query": "a", "limit": 3, "user_id": user, **more})
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["model"])


async def until_split(client: httpx.AsyncClient) -> None:
    for _ in range(PATIENCE):
        if "arm" in await model_of(client, None):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("users were not split")


@pytest.mark.anyio
async def test_two_services_give_a_user_the_same_arm(registry: Path) -> None:
    one, two = ModelRegistry(registry).find("one").version, ModelRegistry(registry).find("two").version
    async with service(registry) as client, service(registry) as other:
        split = await client.post(f"/v1/models/{two}/split", json={"share": 0.5})
        assert split.status_code == 200, split.text
        assert {m["name"]: m["split"] for m in split.json()["models"]} == {"flat": None, "one": None, "two": 0.5}
        assert (registry / SPLIT).read_text() == "two 0.5\n"
        await until_split(other)
        answers = [await model_of(client, user) for user in USERS]
        assert answers == [await model_of(other, user) for user in USERS]
        assert [answer["arm"] for answer in answers] == [arm_of(user, one, two, 0.5) for user in USERS]
        assert {(answer["arm"], answer["version"]) for answer in answers} == {("control", one), ("challenger", two)}
        count = sum(answer["arm"] == "challenger" for answer in answers)
        metrics = (await client.get("/metrics")).text
        assert f'unirank_arm_total{{arm="challenger",version="{two}"}} {count}.0' in metrics
        assert (await client.delete(f"/v1/models/{two}/split")).status_code == 200
        assert "arm" not in await model_of(client, USERS[0])


@pytest.mark.anyio
async def test_every_surface_is_split_and_who_is_nobody_is_in_control(registry: Path) -> None:
    one, two = ModelRegistry(registry).find("one").version, ModelRegistry(registry).find("two").version
    user = next(user for user in USERS if arm_of(user, one, two, 0.5) == "challenger")
    async with service(registry) as client:
        await client.post(f"/v1/models/{two}/split", json={"share": 0.5})
        found = (await client.post("/v1/search", json={"query": "a", "limit": 1})).json()
        assert (found["model"]["version"], found["model"]["arm"]) == (one, "control")
        source = found["items"][0]["id"]
        for path, body in (
            ("/v1/rank", {"context": {"task": "search", "user_id": user}}),
            ("/v1/search", {"user_id": user}),
            ("/v1/homepage", {"user_id": user, "rows": [{"row_id": "a"}, {"row_id": "b"}]}),
            (f"/v1/more-like-this/{source}", {"user_id": user}),
        ):
            answer = (await client.post(path, json=body)).json()
            assert (answer["model"]["version"], answer["model"]["arm"]) == (two, "challenger"), path
        by_link = (await client.get("/v1/search", params={"q": "a", "user_id": user})).json()
        assert by_link["model"]["arm"] == "challenger"


@pytest.mark.anyio
async def test_who_names_a_model_gets_it_and_is_in_no_arm(registry: Path) -> None:
    one, two = ModelRegistry(registry).find("one").version, ModelRegistry(registry).find("two").version
    async with service(registry) as client:
        await client.post(f"/v1/models/{two}/split", json={"share": 0.5})
        for version in (one, two):
            for user in (None, *USERS[:8]):
                answered = await model_of(client, user, model=version)
                assert (answered["version"], answered.get("arm")) == (version, None)
        refused = await client.post("/v1/search", json={"model": "films-0"})
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/model")
        await client.delete(f"/v1/models/{two}/split")
        assert (await client.post("/v1/search", json={"model": two})).status_code == 422


@pytest.mark.anyio
async def test_a_challenger_that_is_unfit_gets_nobody(registry: Path) -> None:
    flat, one = ModelRegistry(registry).find("flat").version, ModelRegistry(registry).find("one").version
    async with service(registry) as client:
        refused = await client.post(f"/v1/models/{flat}/split", json={"share": 0.5})
        assert (refused.status_code, refused.json()["type"]) == (422, "urn:unirank:problem:model_refused")
        assert not (registry / SPLIT).exists()
        (registry / SPLIT).write_text("flat 0.9\n")  # somebody else moves all workers to it
        await asyncio.sleep(1.3)
        assert {(await model_of(client, user)).get("arm", one) for user in USERS} == {one}
        listed = {m["name"]: m for m in (await client.get("/v1/models")).json()["models"]}
        assert (listed["flat"]["split"], "same score" in listed["flat"]["refused"]) == (0.9, True)
        (registry / SPLIT).write_text("two 0.9\n")
        await until_split(client)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("version", "body", "status"),
    [
        ("two", {"share": 0}, 422),
        ("two", {"share": 1}, 422),
        ("two", {"share": "0.5"}, 422),
        ("two", {}, 422),
        ("two", {"share": 0.5, "salt": "x"}, 422),
        ("one", {"share": 0.5}, 409),
        ("nope", {"share": 0.5}, 404),
    ],
)
async def test_a_split_that_makes_no_sense_is_refused(
    registry: Path, version: str, body: dict[str, object], status: int
) -> None:
    async with service(registry) as client:
        answer = await client.post(f"/v1/models/{version}/split", json=body)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
        assert not (registry / SPLIT).exists()
        assert (await client.delete("/v1/models/two/split")).status_code == 409
        assert (await client.delete("/v1/models/nope/split")).status_code == 404


@pytest.mark.anyio
async def test_nobody_is_split_before_a_model_is_live(registry: Path) -> None:
    (registry / LIVE).unlink()
    (registry / SPLIT).write_text("two 0.5\n")
    async with service(registry, wait=False) as client:
        assert (await client.post("/v1/models/two/split", json={"share": 0.5})).status_code == 503
        (registry / LIVE).write_text("one\n")
        for _ in range(PATIENCE):
            if (await client.get("/readyz")).status_code == 200:
                break
            await asyncio.sleep(0.01)
        await until_split(client)


@pytest.mark.anyio
async def test_the_winner_goes_live_from_memory_and_the_split_is_over(registry: Path) -> None:
    one, two = ModelRegistry(registry).find("one").version, ModelRegistry(registry).find("two").version
    loads: list[str] = []

    def load(folder: Path) -> RankingModel:
        loads.append(folder.name)
        return load_model(folder, "cpu", 10.0)

    async with service(registry, load) as client:
        await client.post(f"/v1/models/{two}/split", json={"share": 0.5})
        assert (await client.post(f"/v1/models/{two}/activate")).json()["live"] == two
        assert {tuple(sorted((await model_of(client, user)).items())) for user in USERS[:9]} == {
            tuple(sorted((await model_of(client, None)).items()))
        }
        await client.post(f"/v1/models/{one}/split", json={"share": 0.5})
        assert (await model_of(client, None))["arm"] == "control"
        assert (await client.post(f"/v1/models/{one}/rollback")).status_code == 409  # it is not live: end the split
        assert (await client.post(f"/v1/models/{two}/rollback")).json()["live"] == one
        assert "arm" not in await model_of(client, USERS[0])
        assert loads == ["one", "two"]


@pytest.mark.anyio
async def test_a_challenger_that_live_comes_to_name_takes_no_share(registry: Path) -> None:
    async with service(registry) as client:
        await client.post("/v1/models/two/split", json={"share": 0.5})
        (registry / LIVE).write_text("two\n")
        await until(client, "two-")
        await asyncio.sleep(1.1)
        assert "arm" not in await model_of(client, USERS[0])


@pytest.mark.anyio
async def test_splits_under_load_fail_no_request(registry: Path) -> None:
    one, two = ModelRegistry(registry).find("one").version, ModelRegistry(registry).find("two").version
    challengers = [user for user in USERS if arm_of(user, one, two, 0.6) == "challenger"]
    async with service(registry) as client:
        stop, seen = asyncio.Event(), set[str]()

        async def ask(user: str) -> None:
            while not stop.is_set():
                seen.add((await model_of(client, user))["version"])

        callers = [asyncio.create_task(ask(user)) for user in challengers[:4]]
        for _ in range(2):
            assert (await client.post(f"/v1/models/{two}/split", json={"share": 0.6})).status_code == 200
            await asyncio.sleep(0.1)
            assert (await client.delete(f"/v1/models/{two}/split")).status_code == 200
        stop.set()
        await asyncio.gather(*callers)
        assert seen == {one, two}
