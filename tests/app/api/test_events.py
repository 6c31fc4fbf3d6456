"""`POST /v1/events` keeps all events of a body or none, answers 202 once they are on disk, and points at faults."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from app_fakes import app_of, client_of
from event_bodies import ENGAGED, SHOWN, post, stored


@pytest.mark.anyio
@pytest.mark.parametrize("form", ["array", "lines", "windows lines"])
async def test_events_are_stored_as_sent(tmp_path: Path, form: str) -> None:
    lines = [json.dumps(ENGAGED), json.dumps(SHOWN)]
    body = {"array": f"[{','.join(lines)}]", "lines": "\n".join(lines) + "\n", "windows lines": "\r\n".join(lines)}[
        form
    ]
    answer = await post(tmp_path, body.encode())
    assert (answer.status_code, answer.json()) == (202, {"accepted": 2})
    kept = stored(tmp_path)
    assert kept == [ENGAGED, SHOWN]
    assert {type(event["timestamp"]) for event in kept} == {int}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"entity_id": "x" * 300}, "/1/entity_id", "too_long"),
        ({"query": "x" * 3000}, "/1/query", "too_long"),
        ({"label": "yes"}, "/1/label", "wrong_type"),
        ({"timestamp": 1.5}, "/1/timestamp", "wrong_value"),
        ({"type": "click"}, "/1/type", "wrong_value"),
        ({"clicked": True}, "/1/clicked", "unknown_field"),
        ({"user_id": "a\0b"}, "/1/user_id", "nul"),
    ],
)
async def test_one_bad_event_rejects_the_body_and_is_pointed_at(
    tmp_path: Path, change: dict[str, Any], pointer: str, code: str
) -> None:
    answer = await post(tmp_path, json.dumps([ENGAGED, {**ENGAGED, **change}]).encode())
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.json()["errors"][0]["pointer"], answer.json()["errors"][0]["code"]) == (pointer, code)
    assert stored(tmp_path) == []


@pytest.mark.anyio
async def test_the_number_of_shown_entities_is_bounded(tmp_path: Path) -> None:
    answer = await post(tmp_path, json.dumps([{**SHOWN, "shown": ["a", "b", "c"]}]).encode(), max_candidates=2)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/0/shown")
    answer = await post(tmp_path, json.dumps([{**SHOWN, "shown": ["a", "b" * 300]}]).encode())
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/0/shown/1")


@pytest.mark.anyio
@pytest.mark.parametrize("body", [b"{", b"\xff", b"[1]", b"nonsense\n", b'{"a"'])
async def test_bytes_that_are_not_events_are_refused(tmp_path: Path, body: bytes) -> None:
    answer = await post(tmp_path, body)
    assert answer.status_code in (400, 422)
    assert stored(tmp_path) == []


@pytest.mark.anyio
@pytest.mark.parametrize("body", [b"", b"[]", b"\n"])
async def test_a_body_without_events_is_accepted(tmp_path: Path, body: bytes) -> None:
    answer = await post(tmp_path, body)
    assert (answer.status_code, answer.json()) == (202, {"accepted": 0})


@pytest.mark.anyio
async def test_a_read_only_state_folder_gives_503_for_events_only(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    async with client_of(app_of(state_dir=str(blocked))) as client:
        answer = await client.post("/v1/events", json=[ENGAGED])
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert answer.json()["type"] == "urn:unirank:problem:events_unavailable"
        assert (await client.post("/v1/search", json={"query": "toy"})).status_code == 200


@pytest.mark.anyio
async def test_events_are_counted(tmp_path: Path) -> None:
    async with client_of(app_of(state_dir=str(tmp_path))) as client:
        await client.post("/v1/events", json=[ENGAGED, SHOWN, ENGAGED])
        text = (await client.get("/metrics")).text
    assert 'unirank_events_total{type="engagement"} 2.0' in text
