"""The life of a model: what may not serve is refused, going back works, the shadow model changes no answer, a swap
under load fails no request, and what retires is freed.
"""

from __future__ import annotations

import asyncio
import gc
import re
import weakref
from pathlib import Path

import pytest
import torch
from model_registry import PATIENCE, registry_of_three, service, until, version_of
from typer.testing import CliRunner

from app.cli import app as commands
from app.errors import ModelConflictError, ModelNotFoundError
from app.models.loading import load_model
from app.models.registry import LIVE, MANIFEST, PREVIOUS, SHADOW, ModelRegistry
from app.models.shadow import kendall_tau, overlap
from model.artefact.check import check
from model.artefact.model import Artefact, ArtefactError
from model.artefact.reading import read
from model.artefact.writing import write

LIMIT_S = 10.0


@pytest.fixture
def registry(model_path: Path, tmp_path: Path) -> Path:
    """`one`, which is live, `two` and `flat`."""
    return registry_of_three(model_path, tmp_path / "models")


# ---- what may not serve -------------------------------------------------------------------------------------


def test_a_model_as_it_was_made_may_serve(artefact: Artefact) -> None:
    check(artefact, LIMIT_S)


def test_a_model_whose_scores_are_all_alike_may_not(registry: Path) -> None:
    with pytest.raises(ArtefactError, match="have the same score"):
        load_model(registry / "flat", "cpu", LIMIT_S)


def test_a_model_that_answers_otherwise_than_when_it_was_made_may_not(model_path: Path, tmp_path: Path) -> None:
    contents = read(model_path)
    with torch.no_grad():
        contents.ranker.out.bias += 1.0
    write(tmp_path / "other", contents, "other")
    with pytest.raises(ArtefactError, match="golden request 0: the scores are not those"):
        load_model(tmp_path / "other", "cpu", LIMIT_S)


def test_a_model_that_is_too_slow_may_not(artefact: Artefact) -> None:
    with pytest.raises(ArtefactError, match="longer than 1e-09 s"):
        check(artefact, 1e-9)


def test_a_golden_request_that_cannot_be_read_is_refused(model_path: Path, tmp_path: Path) -> None:
    contents = read(model_path)
    for broken in ({"context": {"task": "search", "nonsense": 1}}, {"context": {}}, {}):
        contents.golden = [broken]
        write(tmp_path / "other", contents, "other")
        with pytest.raises(ArtefactError, match="golden request 0"):
            load_model(tmp_path / "other", "cpu", LIMIT_S)


# ---- the registry ----------------------------------------------------------------------------------------------


def test_the_registry_moves_between_models_and_remembers_the_one_before(registry: Path) -> None:
    models = ModelRegistry(registry)
    assert [version.name for version in models.versions()] == ["flat", "one", "two"]
    assert models.live() == registry / "one"
    with pytest.raises(ModelConflictError, match="nothing to go back to"):
        models.previous()
    two = models.find("two")
    assert models.activate(two.version) == two
    assert models.live() == registry / "two"
    assert models.previous().name == "one"
    models.activate("two")  # again: the one before stays the one before
    assert models.previous().name == "one"
    with pytest.raises(ModelNotFoundError, match="there is no model 'three'; there are flat-"):
        models.activate("three")
    assert not list(registry.glob(".*"))


def test_a_shadow_model_is_named_and_removed(registry: Path) -> None:
    models = ModelRegistry(registry)
    assert models.shadow() is None
    assert models.set_shadow("two").folder == models.shadow()
    with pytest.raises(ModelConflictError, match="is not the shadow"):
        models.clear_shadow("one")
    models.clear_shadow("two")
    assert models.shadow() is None


def test_one_model_by_itself_has_nowhere_to_go(model_path: Path) -> None:
    models = ModelRegistry(model_path)
    (only,) = models.versions()
    assert (only.name, models.live()) == (".", model_path)
    with pytest.raises(ModelConflictError, match="is one model"):
        models.activate(only.version)


def test_folders_that_are_no_models_are_left_out(registry: Path) -> None:
    for name, text in (("a", "{}"), ("b", "not JSON"), ("c", "[]"), ("d", "[" * 100_000)):
        (registry / name).mkdir()
        (registry / name / MANIFEST).write_text(text)
    assert [version.name for version in ModelRegistry(registry).versions()] == ["flat", "one", "two"]


def test_models_are_listed_checked_and_moved_by_commands(registry: Path) -> None:
    run = CliRunner().invoke
    assert run(commands, ["models", "activate", str(registry), "two"]).exit_code == 0
    assert (registry / LIVE).read_text() == "two\n"
    refused = run(commands, ["models", "activate", str(registry), "flat"])
    assert "same score" in str(refused.exception)
    assert (registry / LIVE).read_text() == "two\n"
    assert run(commands, ["models", "rollback", str(registry)]).exit_code == 0
    assert (registry / LIVE).read_text(), (registry / PREVIOUS).read_text() == ("one\n", "two\n")
    assert run(commands, ["models", "shadow", str(registry), "two"]).exit_code == 0
    assert (registry / SHADOW).read_text() == "two\n"
    listed = run(commands, ["models", "list", str(registry)]).stdout
    assert "live" in listed
    assert "shadow" in listed
    assert run(commands, ["models", "check", str(registry / "one")]).exit_code == 0


def test_models_are_listed_where_none_is_live(registry: Path, tmp_path: Path) -> None:
    run = CliRunner().invoke
    for text in (None, "gone\n", "\n"):
        (registry / LIVE).unlink() if text is None else (registry / LIVE).write_text(text)
        listed = run(commands, ["models", "list", str(registry)])
        assert listed.exit_code == 0
        assert "nothing is live" in listed.stderr
        assert "two" in listed.stdout
    (tmp_path / "empty").mkdir()
    for folder in ("empty", "missing"):
        assert "no model" in str(run(commands, ["models", "list", str(tmp_path / folder)]).exception)


# ---- in a running service -----------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_model_is_activated_by_one_call_and_left_by_another(registry: Path) -> None:
    one, two = ModelRegistry(registry).find("one").version, ModelRegistry(registry).find("two").version
    async with service(registry) as client:
        assert await version_of(client) == one
        listed = (await client.get("/v1/models")).json()
        assert {m["version"]: m["live"] for m in listed["models"]}[one]
        moved = await client.post(f"/v1/models/{two}/activate")
        assert moved.status_code == 200
        assert moved.json()["live"] == two
        assert await version_of(client) == two
        assert (registry / LIVE).read_text() == "two\n"
        wrong = await client.post(f"/v1/models/{one}/rollback")
        assert (wrong.status_code, wrong.json()["type"]) == (409, "urn:unirank:problem:conflict")
        back = await client.post(f"/v1/models/{two}/rollback")
        assert (back.status_code, back.json()["live"]) == (200, one)
        assert await version_of(client) == one


@pytest.mark.anyio
async def test_a_service_without_a_live_model_lists_what_there_is_and_takes_one(registry: Path) -> None:
    (registry / LIVE).unlink()
    async with service(registry, wait=False) as client:
        assert (await client.get("/readyz")).status_code == 503
        listed = (await client.get("/v1/models")).json()
        assert listed["live"] is None
        assert [model["name"] for model in listed["models"]] == ["flat", "one", "two"]
        assert (await client.post("/v1/models/two/rollback")).status_code == 503
        assert (await client.post("/v1/models/two/activate")).status_code == 200
        assert (await version_of(client)).startswith("two-")


@pytest.mark.anyio
async def test_a_bad_model_is_refused_with_the_reason_and_the_live_one_goes_on(registry: Path) -> None:
    async with service(registry) as client:
        flat = ModelRegistry(registry).find("flat").version
        refused = await client.post(f"/v1/models/{flat}/activate")
        assert (refused.status_code, refused.json()["type"]) == (422, "urn:unirank:problem:model_refused")
        assert "same score" in refused.json()["detail"]
        assert (await client.post("/v1/models/nope/activate")).status_code == 404
        assert (registry / LIVE).read_text() == "one\n"
        assert (await version_of(client)).startswith("simulated")
        listed = {m["name"]: m["refused"] for m in (await client.get("/v1/models")).json()["models"]}
        assert "same score" in listed["flat"]
        assert listed["one"] is None
        (registry / LIVE).write_text("flat\n")  # somebody else moves all workers to it
        await asyncio.sleep(1.3)
        assert (await version_of(client)).startswith("simulated")
        assert "unirank_models_refused_total 1.0" in (await client.get("/metrics")).text
        (registry / LIVE).write_text("two\n")
        await until(client, "two-")


@pytest.mark.anyio
async def test_a_shadow_ranks_unseen_and_is_compared(registry: Path) -> None:
    async with service(registry, shadow_share=1.0) as client:
        two = ModelRegistry(registry).find("two").version
        named = await client.post(f"/v1/models/{two}/shadow")
        assert {m["name"]: m["shadow"] for m in named.json()["models"]} == {"flat": False, "one": False, "two": True}
        for _ in range(PATIENCE):
            assert (await version_of(client)).startswith("simulated")
            metrics = (await client.get("/metrics")).text
            if re.search(r'^unirank_shadow_tau_count{task="search"} [1-9]', metrics, re.MULTILINE):
                break
            await asyncio.sleep(0.01)
        values = {line.split(" ")[0]: float(line.split(" ")[1]) for line in metrics.splitlines() if "#" not in line}
        count = values['unirank_shadow_tau_count{task="search"}']
        assert count >= 1
        assert values['unirank_shadow_tau_sum{task="search"}'] == count  # the two models are alike
        assert values['unirank_shadow_overlap_sum{task="search"}'] == count
        assert values['unirank_shadow_drift_sum{task="search"}'] == pytest.approx(0, abs=1e-6)
        assert values["unirank_shadow_failed_total"] == 0
        assert (await client.delete(f"/v1/models/{two}/shadow")).status_code == 200
        assert (await client.delete(f"/v1/models/{two}/shadow")).status_code == 409


@pytest.mark.anyio
async def test_swaps_under_load_fail_no_request_and_mix_no_models(registry: Path) -> None:
    async with service(registry) as client:
        versions = [ModelRegistry(registry).find(name).version for name in ("two", "one")]
        stop, seen = asyncio.Event(), set[str]()

        async def load() -> int:
            asked = 0
            while not stop.is_set():
                body = {"user_id": "u1", "rows": [{"row_id": "a"}, {"row_id": "b"}], "dedupe": False}
                answer = await client.post("/v1/homepage", json=body)
                assert answer.status_code == 200, answer.text
                seen.add(answer.json()["model"]["version"])
                asked += 1
            return asked

        callers = [asyncio.create_task(load()) for _ in range(4)]
        for number in range(20):
            moved = await client.post(f"/v1/models/{versions[number % 2]}/activate")
            assert moved.status_code == 200, moved.text
            await asyncio.sleep(0.05)
        stop.set()
        assert sum(await asyncio.gather(*callers)) > 20
        assert seen == set(versions)


def test_overlap_and_rank_correlation() -> None:
    assert overlap(["a"], ["a"], 10) == 1
    assert overlap(["a", "b"], ["c", "d"], 10) == 0
    assert kendall_tau(["a", "b", "c"], ["c", "b", "a"]) == -1
    assert kendall_tau(["a"], ["a"]) == 1


@pytest.mark.anyio
async def test_a_model_that_retires_is_freed_though_nobody_collects(registry: Path) -> None:
    write(registry / "three", read(registry / "one"), "three")
    parts: dict[str, list[weakref.ref[object]]] = {}

    def load(folder: Path) -> Artefact:
        model = load_model(folder, "cpu", LIMIT_S)
        parts[folder.name] = [weakref.ref(part) for part in (model, model.encoder, model.scorer.ranker)]
        return model

    gc.disable()
    try:
        async with service(registry, load) as client:
            for name in ("two", "three"):
                (registry / LIVE).write_text(f"{name}\n")
                await until(client, name)
            for _ in range(PATIENCE):
                if not any(part() for part in parts["one"]):
                    break
                await asyncio.sleep(0.01)
            alive = {name: [part() is not None for part in of_one] for name, of_one in parts.items()}
    finally:
        gc.enable()
    assert alive == {"one": [False] * 3, "two": [True] * 3, "three": [True] * 3}
