"""Activations against the follower: who answers is who was asked for, whatever polls the registry meanwhile; a folder
that is copied in slowly goes live once it is whole; commands say what running services say.
"""

from __future__ import annotations

import asyncio
import errno
import json
import time
from pathlib import Path

import pytest
from app_fakes import FakeModel
from model_registry import PATIENCE, service, until, version_of
from typer.testing import CliRunner

from app.cli import app as commands
from app.models import follower, pointers, reports
from app.models.registry import LIVE, MANIFEST, PREVIOUS, SHADOW, SPLIT

pytestmark = pytest.mark.anyio
FILES = ("weights", "records", "golden")


def manifest(name: str) -> str:
    table = {"version": f"{name}-v", "checksum": "c", "tasks": ["search"], "dataset": {"name": "d"}, "metrics": {}}
    return json.dumps({**table, "files": dict.fromkeys(FILES, "")})


def put(registry: Path, *names: str) -> None:
    for name in names:
        (registry / name).mkdir(parents=True)
        for file in FILES:
            (registry / name / file).write_text("whole")
        (registry / name / MANIFEST).write_text(manifest(name))


def load(folder: Path) -> FakeModel:
    """Of a whole folder; takes a moment."""
    time.sleep(0.05)
    for file in FILES:
        if not (folder / file).is_file() or (folder / file).read_text() != "whole":
            raise ValueError(f"{file} does not match its checksum")
    model = FakeModel()
    model.version = json.loads((folder / MANIFEST).read_text())["version"]
    return model


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three models, `one` live, followed a hundred times as often as usual."""
    monkeypatch.setattr(follower, "POLL_INTERVAL_S", 0.01)
    monkeypatch.setattr(reports, "WRITE_INTERVAL_S", 0.01)
    monkeypatch.setattr("app.commands.models._check_model", lambda model, timeout_ms: load(model).version)
    monkeypatch.setenv("UNIRANK_STATE_DIR", str(tmp_path))
    put(tmp_path, "one", "two", "three")
    (tmp_path / LIVE).write_text("one\n")
    return tmp_path


async def run(*arguments: str, stdout: str, code: int = 0) -> None:
    """A command, beside the service that it is about."""
    ended = await asyncio.to_thread(CliRunner().invoke, commands, ["models", *arguments])
    assert stdout in " ".join(ended.stdout.split()), (ended.stdout, ended.stderr, ended.exception)
    assert ended.exit_code == code


# ---- activate against the follower ---------------------------------------------------------------------------


async def test_an_activation_is_answered_by_the_model_that_was_asked_for(registry: Path) -> None:
    async with service(registry, load) as client:
        for number in range(20):
            wanted = f"{('two', 'three', 'one')[number % 3]}-v"
            moved = await client.post(f"/v1/models/{wanted}/activate")
            assert (moved.status_code, moved.json()["live"]) == (200, wanted)
            assert await version_of(client) == wanted


async def test_two_services_that_move_to_different_models_end_on_one(registry: Path) -> None:
    async with service(registry, load) as client, service(registry, load) as other:
        for _ in range(4):
            both = await asyncio.gather(client.post("/v1/models/two/activate"), other.post("/v1/models/three/activate"))
            assert [moved.status_code for moved in both] == [200, 200]
            named = (registry / LIVE).read_text().strip()
            before = (registry / PREVIOUS).read_text().strip()
            assert {named, before} <= {"one", "two", "three"}
            assert named != before
            await until(client, named)
            await until(other, named)


async def test_a_rollback_asks_the_file_and_not_the_memory_of_a_worker(
    registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (registry / PREVIOUS).write_text("three\n")
    async with service(registry, load) as client:
        monkeypatch.setattr(follower, "POLL_INTERVAL_S", 3600)
        await asyncio.sleep(0.05)  # the poll under way ends
        (registry / LIVE).write_text("two\n")  # another worker moved on, and this one has not polled yet
        assert await version_of(client) == "one-v"
        wrong = await client.post("/v1/models/one-v/rollback")
        assert (wrong.status_code, "LIVE names two" in wrong.json()["detail"]) == (409, True)
        back = await client.post("/v1/models/two-v/rollback")
        assert (back.status_code, back.json()["live"]) == (200, "three-v")
        assert (registry / LIVE).read_text() == "three\n"


async def test_a_live_file_that_cannot_be_written_leaves_the_old_model(
    registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with service(registry, load) as client:

        def full(_: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(pointers.os, "fsync", full)
            for call, body in (("activate", None), ("split", {"share": 0.5}), ("shadow", None)):
                failed = await client.post(f"/v1/models/two/{call}", json=body)
                assert failed.status_code == 503, failed.text
                assert failed.json()["type"] == "urn:unirank:problem:models_unwritable"
                assert "No space left on device" in failed.json()["detail"]
        assert await version_of(client) == "one-v"
        assert (registry / LIVE).read_text() == "one\n"
        assert (await client.post("/v1/models/two/activate")).json()["live"] == "two-v"


async def test_reasons_of_refusal_are_of_the_folder_and_not_of_its_name(registry: Path) -> None:
    put(registry, "good/films", "bad/films")
    (registry / "bad/films/weights").write_text("half")
    async with service(registry, load) as client:
        refused = await client.post("/v1/models/bad%2Ffilms-v/activate")
        if refused.status_code == 404:  # a name with a slash is no part of a path: by the file, then
            (registry / LIVE).write_text("bad/films\n")
        for _ in range(PATIENCE):
            listed = {m["name"]: m["refused"] for m in (await client.get("/v1/models")).json()["models"]}
            if listed["bad/films"]:
                break
            await asyncio.sleep(0.01)
        assert "weights does not match" in listed["bad/films"]
        assert listed["good/films"] is None


# ---- a folder that is copied in ------------------------------------------------------------------------------


@pytest.mark.parametrize("file", [LIVE, SPLIT, SHADOW])
async def test_a_model_that_is_copied_in_slowly_serves_once_it_is_whole(registry: Path, file: str) -> None:
    """Manifest first, the rest behind it: it is seen half copied, refused, and tried again."""
    async with service(registry, load, shadow_share=1.0) as client:
        (registry / "new").mkdir()
        (registry / "new" / MANIFEST).write_text(manifest("new"))
        (registry / file).write_text("new 0.999999\n" if file == SPLIT else "new\n")

        async def entry() -> dict[str, object]:
            models = (await client.get("/v1/models")).json()["models"]
            return next(model for model in models if model["name"] == "new")

        for name in FILES:
            for _ in range(PATIENCE):
                if "does not match" in str((await entry())["refused"]):
                    break
                await asyncio.sleep(0.01)
            assert await version_of(client) == "one-v"
            for text in ("half", "whole"):
                (registry / "new" / name).write_text(text)
                await asyncio.sleep(0.02)
        for _ in range(PATIENCE):
            if (await entry())["refused"] is None:
                break
            await asyncio.sleep(0.01)
        assert (await entry())["refused"] is None
        answered = await client.post("/v1/search", json={"query": "a", "user_id": "u1"})
        assert answered.json()["model"]["version"] == ("one-v" if file == SHADOW else "new-v")


async def test_what_cannot_be_read_is_listed_with_the_reason(registry: Path) -> None:
    (registry / "broken").mkdir()
    (registry / "broken" / MANIFEST).write_text("{")
    (registry / "two" / "weights").unlink()
    async with service(registry, load) as client:
        listed = (await client.get("/v1/models")).json()
        assert [broken["name"] for broken in listed["unreadable"]] == ["broken"]
        assert "manifest.json is not that of a model" in listed["unreadable"][0]["reason"]
        assert {m["name"]: m["refused"] for m in listed["models"]}["two"] == "it lacks weights"
    await run("list", str(registry), stdout="unreadable")
    await run("list", str(registry), stdout="lacks weights")


# ---- commands ------------------------------------------------------------------------------------------------


async def test_commands_wait_until_every_service_has_followed(registry: Path) -> None:
    async with service(registry, load) as client, service(registry, load) as other:
        await run("activate", str(registry), "two", stdout="two-v is live (2 workers confirmed)")
        assert [await version_of(one) for one in (client, other)] == ["two-v"] * 2
        await run("rollback", str(registry), stdout="one-v is live again (2 workers confirmed)")
        assert [await version_of(one) for one in (client, other)] == ["one-v"] * 2
        await run("split", str(registry), "two", "--share", "0.5", stdout="0.5 of the users (2 workers confirmed)")
        await run("unsplit", str(registry), stdout="all users get the live model (2 workers confirmed)")
        await run("shadow", str(registry), "two", stdout="two-v is the shadow (2 workers confirmed)")
        await run("shadow", str(registry), "two", "--off", stdout="is no longer the shadow (2 workers confirmed)")
    assert not (registry / ".workers").exists()
    await run("activate", str(registry), "two", stdout="two-v named in LIVE; no worker confirmed it")


async def test_a_command_tells_why_a_service_does_not_follow(registry: Path) -> None:
    def never(folder: Path) -> FakeModel:
        if folder.name == "two":
            raise ValueError("this replica has no room")
        return load(folder)

    async with service(registry, load) as client, service(registry, never) as other:
        said = "two-v named in LIVE, but 1 worker refused it: this replica has no room; 1 worker confirmed it"
        await run("activate", str(registry), "two", stdout=said, code=1)
        assert [await version_of(one) for one in (client, other)] == ["two-v", "one-v"]


async def test_a_registry_that_may_only_be_read_is_reported_on_in_the_state_folder(
    registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (registry / ".workers").write_text("no folder can be made here")
    async with service(registry, load):
        await run("activate", str(registry), "two", stdout="two-v is live (1 worker confirmed)")


async def test_workers_that_are_gone_are_not_waited_for(registry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "_SILENT_S", 0.3)
    (registry / ".workers").mkdir()
    gone = {"beat": 7, "live": "one-v", "split": None, "shadow": None, "refused": {}}
    (registry / ".workers" / "killed-1-0.json").write_text(json.dumps(gone))
    (registry / ".workers" / "torn-1-0.json").write_text('{"beat": 7, "li')
    await run("activate", str(registry), "two", stdout="two-v named in LIVE; no worker confirmed it")
    async with service(registry, load):
        await run("activate", str(registry), "three", stdout="three-v is live (1 worker confirmed)")
