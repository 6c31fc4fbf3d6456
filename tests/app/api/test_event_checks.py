"""`POST /v1/events` accepts labels and times by the rules of an import, reports a full disk, and never holds the event
loop for long.
"""

from __future__ import annotations

import asyncio
import contextlib
import doctest
import errno
import json
import time
from pathlib import Path
from typing import Any

import pytest
from app_fakes import app_of, client_of, settings
from event_bodies import ENGAGED, SHOWN, post, stored
from processor import slowness

from app.api.v1 import event_checks
from app.api.v1 import events as route
from app.api.v1.event_checks import CooperativePause, implausible
from app.api.v1.event_schemas import DAY_MS, FIRST_MS, Event, latest_ms
from app.api.v1.events import as_array
from app.errors import UnirankError
from app.http.decoding import decode
from model.datasets.dataset import Dataset
from model.events.derived import observed

NOW_MS = 1_763_900_000_000
HOLD_S = 3 * 0.010  # beyond decoding; three times the promise, as in test_body_cost.py


def as_lines(events: list[dict[str, Any]]) -> str:
    return "\n".join(map(json.dumps, events))


def test_the_examples_in_the_docstrings_of_the_checks_hold() -> None:
    assert doctest.testmod(event_checks).failed == doctest.testmod(route).failed == 0


@pytest.mark.parametrize(
    ("timestamp", "says"),
    [
        (FIRST_MS, None), (NOW_MS, None), (NOW_MS + DAY_MS, None), (1_500_000_000_000, None),
        (FIRST_MS - 1, "631151999999 is before 1990"), (0, "0 is before 1990"), (-5, "-5 is before 1990"),
        (1_764_028_799_999, None), (1_764_028_800_000, "1764028800000 is after tomorrow"),
        (NOW_MS + 2 * DAY_MS, "1764072800000 is after tomorrow"),
        (1_763_900_000, "1763900000 looks like seconds: expected milliseconds since 1970 UTC, here 1763900000000"),
        (NOW_MS * 1000, "looks like microseconds: expected milliseconds since 1970 UTC, here 1763900000000"),
        (NOW_MS * 10**6, "looks like nanoseconds: expected milliseconds since 1970 UTC, here 1763900000000"),
        (20_130_102, "20130102 is before 1990"), (45_000, "45000 is before 1990"), (1e300, "1e+300 is after"),
        (2**53, "9007199254740992 is after tomorrow"),
    ],
)  # fmt: skip
def test_an_implausible_time_is_refused_by_its_value(timestamp: float, says: str | None) -> None:
    found = implausible(float(timestamp), NOW_MS)
    assert found is None if says is None else says in (found or "")


@pytest.mark.anyio
@pytest.mark.parametrize(
    "form", [json.dumps, lambda events: "\n".join(map(json.dumps, events))], ids=["array", "lines"]
)
@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("timestamp", 1_700_000_000, "1700000000 looks like seconds"),
        ("timestamp", 1_700_000_000_000_000, "1700000000000000 looks like microseconds"),
        ("timestamp", 0, "0 is before 1990"),
        ("timestamp", 4_000_000_000_000, "4000000000000 is after tomorrow"),
        ("timestamp", 2**63, "9.2233720368547758e+18 is after tomorrow"),
        ("label", -1, "expected a finite number of at least 0, got -1"),
        ("label", -1e-300, "got -1"),
        ("label", True, "Expected `float`, got `bool`"),
        ("label", None, "Expected `float`, got `null`"),
    ],
)
async def test_one_bad_value_keeps_no_event(tmp_path: Path, form: Any, field: str, value: Any, says: str) -> None:
    answer = await post(tmp_path, form([ENGAGED, {**ENGAGED, field: value}, SHOWN]).encode())
    assert answer.status_code == 422
    (fault,) = answer.json()["errors"]
    assert fault["pointer"] == f"/1/{field}"
    assert says in fault["detail"]
    assert stored(tmp_path) == []


@pytest.mark.anyio
@pytest.mark.parametrize("number", ["NaN", "1e999", "-Infinity"])
@pytest.mark.parametrize("field", ["label", "timestamp"])
async def test_numbers_are_finite(tmp_path: Path, field: str, number: str) -> None:
    body = json.dumps([ENGAGED, {**ENGAGED, field: "X"}]).replace('"X"', number)
    answer = await post(tmp_path, body.encode())
    assert answer.status_code in (400, 422)
    assert stored(tmp_path) == []


@pytest.mark.anyio
async def test_many_bad_events_get_the_first_twenty_faults(tmp_path: Path) -> None:
    answer = await post(tmp_path, json.dumps([ENGAGED] + [{**ENGAGED, "label": -1}] * 5000).encode())
    assert [fault["pointer"] for fault in answer.json()["errors"]] == [f"/{place}/label" for place in range(1, 21)]


@pytest.mark.anyio
async def test_what_is_accepted_loads_as_a_dataset(tmp_path: Path) -> None:
    from app.events.dataset_export import export_folder

    limits = [{**ENGAGED, "label": label, "user_id": f"u{label}"} for label in (0, 1e-300, 1e300, 5)]
    limits += [{**ENGAGED, "timestamp": at} for at in (FIRST_MS, latest_ms(time.time() * 1000))]
    answer = await post(tmp_path, json.dumps([*limits, SHOWN]).encode())
    assert answer.status_code == 202
    entities = tmp_path / "entities.jsonl"
    entities.write_text("".join(json.dumps({"entity_id": f"f{n}", "display_name": "F"}) + "\n" for n in range(5)))
    export_folder(tmp_path / "events", tmp_path / "shop", entities)
    made = Dataset.load(tmp_path / "shop", max_rejected=0.0)
    assert observed(made.events).height == len(limits) + 2


@pytest.mark.anyio
async def test_a_full_disk_gives_503_until_there_is_room_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with client_of(app_of(state_dir=str(tmp_path))) as client:
        ready = (await client.get("/readyz")).status_code
        with monkeypatch.context() as broken:
            broken.setattr("app.events.segments.os.write", full)
            answer = await client.post("/v1/events", json=[ENGAGED])
            assert (answer.status_code, answer.json()["type"]) == (503, "urn:unirank:problem:events_unavailable")
            assert "unirank_events_failing 1.0" in (await client.get("/metrics")).text
            assert (await client.get("/readyz")).status_code == ready
        assert (await client.post("/v1/events", json=[ENGAGED])).status_code == 202
        assert "unirank_events_failing 0.0" in (await client.get("/metrics")).text


LINE = json.dumps(ENGAGED).encode()
BODIES = {
    "lines": b"\n".join([LINE] * (1_990_000 // (len(LINE) + 1))),
    "lines far apart": b"\r\n \r\n".join([LINE] * (1_990_000 // (len(LINE) + 5))),
    "an array": b"[" + b",".join([LINE] * (1_990_000 // (len(LINE) + 1))) + b"]",
    "long slates": json.dumps([{**SHOWN, "shown": ["f1"] * 5000}] * 60).encode(),
    "long ids": json.dumps([{**SHOWN, "shown": ["x" * 300] * 5000}]).encode(),
    "too many ids": json.dumps([{**SHOWN, "shown": ["x"] * 300_000}]).encode(),
    "bad labels": b"\n".join([LINE.replace(b"1.0", b"-1.0")] * 9000),
    "blank lines": b"\n" * 1_990_000,
    "blank lines of old": b"\r" * 1_990_000,
    "spaces": b" " * 1_990_000,
    "spaces in lines": b" \n" * 990_000,
    "numbers": b"1\n" * 100_000,
}


async def longest_turn(app: Any, body: bytes) -> float:
    """Seconds of this thread's work between two turns of the event loop, at most, while the body is answered."""
    longest, running = 0.0, True

    async def watch() -> None:
        nonlocal longest
        before = time.thread_time()
        while running:
            await asyncio.sleep(0)
            now = time.thread_time()
            longest, before = max(longest, now - before), now

    async with client_of(app) as client:
        watching = asyncio.create_task(watch())
        await asyncio.sleep(0)
        answer = await client.post("/v1/events", content=body)
        running = False
        await watching
    assert answer.status_code in (202, 422), answer.text
    return longest


@pytest.mark.anyio
@pytest.mark.parametrize("name", BODIES)
async def test_no_body_holds_the_event_loop(tmp_path: Path, name: str) -> None:
    """Beyond decoding, which is measured alone. The best of three: what the code needs, not what the machine adds."""
    body = BODIES[name]
    array = await as_array(body, CooperativePause())
    turns = []
    for _ in range(3):
        started = time.thread_time()
        with contextlib.suppress(UnirankError):
            decode(array, list[Event], settings().max_depth)
        decoding = time.thread_time() - started
        turns.append(await longest_turn(app_of(state_dir=str(tmp_path)), body) - decoding)
        if turns[-1] < HOLD_S * slowness():
            break
    assert min(turns) < HOLD_S * slowness(), turns
