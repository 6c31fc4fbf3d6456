"""Faults beside Redis: swaps, a bad model, too many requests, hostile bodies, kills, a drain, a soak."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from string import ascii_lowercase

import httpx
import numpy as np
from server_process import ROOT, served

from app.events.export import export
from app.events.log import EventLog
from app.models.registry import LIVE, ModelRegistry
from chaos.hostile import hostile
from chaos.load import Ask, Phase, load
from chaos.open_loop import arrive
from chaos.redis_faults import service
from chaos.rows import Row, SameOrder, asks_of, order_of
from model.artefact.reading import read
from model.artefact.writing import write

CANDIDATES = 500
GOODPUT = 0.9
CALLERS = 800  # connections of the overload: a request that is due finds one free, so its caller does not wait
SLOPE_MB = 1.0
WRITER = ROOT / "tests" / "chaos" / "event_writer.py"


def shelf_of_two(model: Path, work: Path) -> Path:
    """A folder with the model twice, under two versions; `one` is live."""
    folder = work / "models"
    if not folder.exists():
        shutil.copytree(model, folder / "one")
        write(folder / "two", read(model), "two")
    (folder / LIVE).write_text("one\n")
    return folder


async def swap_row(model: Path, work: Path, seconds: float) -> Row:
    """Another model each second, under load."""
    shelf = await asyncio.to_thread(shelf_of_two, model, work)
    versions = [ModelRegistry(shelf).find(name).version for name in ("two", "one")]
    async with service(shelf, work / "swap.log", state_dir=work) as url:
        asks = await asks_of(url)
        verdict, seen = await SameOrder.of(url, asks), Counter[str]()

        def judge(answer: httpx.Response) -> str:
            if answer.status_code == 200:
                seen[answer.json()["model"]["version"]] += 1
            return verdict(answer)

        async with load(url, asks, judge) as loaded, httpx.AsyncClient(base_url=url, timeout=60) as operator:
            await operator.post(f"/v1/models/{versions[0]}/activate")  # both are loaded from now on
            loaded.turn()
            await asyncio.sleep(min(seconds, 5))
            before = loaded.turn()
            moves = []
            for number in range(max(2, int(seconds))):
                moves.append((await operator.post(f"/v1/models/{versions[1 - number % 2]}/activate")).status_code)
                await asyncio.sleep(min(1.0, seconds / 2))
            during = loaded.turn()
            await asyncio.sleep(min(seconds, 5))
            after = loaded.turn()
    row = Row("model swap each second", before, during, after, note=f"{len(moves)} swaps")
    row.promises = {
        "no request fails": not row.failed and set(moves) == {200},
        "both answered": set(seen) == set(versions),
        "p99 at most doubled": during.quantile_ms(0.99) <= 2 * max(before.quantile_ms(0.99), after.quantile_ms(0.99)),
    }
    return row


async def bad_model_row(model: Path, work: Path, seconds: float) -> Row:
    """`LIVE` names a model that is cut short, then a good one again."""
    shelf = await asyncio.to_thread(shelf_of_two, model, work)
    bad = shelf / "bad"
    shutil.copytree(shelf / "two", bad, dirs_exist_ok=True)
    (bad / "weights.safetensors").write_bytes((bad / "weights.safetensors").read_bytes()[:-100])
    try:
        async with service(shelf, work / "bad.log", state_dir=work) as url:
            asks = await asks_of(url)
            verdict = await SameOrder.of(url, asks)
            async with load(url, asks, verdict) as loaded, httpx.AsyncClient(base_url=url) as operator:
                phases = []
                for name in ("one", "bad", "two"):
                    (shelf / LIVE).write_text(f"{name}\n")
                    await asyncio.sleep(max(seconds, 2.5))
                    phases.append(loaded.turn())
                listed = {m["name"]: m for m in (await operator.get("/v1/models")).json()["models"]}
    finally:
        shutil.rmtree(bad)
    row = Row("model cut short", *phases, note=str(listed["bad"]["refused"])[:60])
    row.promises = {
        "no request fails": not row.failed,
        "refused with the reason": "checksum" in str(listed["bad"]["refused"]),
        "the next good one serves": listed["two"]["live"],
    }
    return row


async def overload_row(model: Path, work: Path, seconds: float) -> Row:
    """Five times as many requests as the service can answer, on a schedule of their own."""
    async with service(model, work / "overload.log", apart=True, state_dir=work, timeout_ms=500) as url:
        asks = await _different(url)
        async with load(url, asks, lambda answer: "" if answer.status_code == 200 else "refused", 8) as loaded:
            await asyncio.sleep(seconds / 4)
            loaded.turn()
            await asyncio.sleep(seconds)
            before = loaded.turn()
        peak = len(before.seconds) / seconds
        bodies = [ask.body for ask in asks]
        arrivals = await arrive(url, "/v1/rank", bodies, 5 * peak, seconds / 4, seconds, CALLERS)
        await asyncio.sleep(1)  # what was still waiting is done
        async with load(url, asks, lambda answer: "" if answer.status_code == 200 else "refused", 8) as loaded:
            await asyncio.sleep(seconds)
            after = loaded.turn()
    goodput = arrivals.in_time / seconds
    during = Phase(arrivals.due, Counter(), arrivals.seconds)
    row = Row("5 times the load", before, during, after)
    row.note = f"peak {peak:.0f}/s, then {goodput:.0f}/s of {5 * peak:.0f}/s; {arrivals.statuses[503]} refused"
    row.promises = {
        "goodput at least 90 % of peak": goodput >= GOODPUT * peak,
        "the rest refused with Retry-After": set(arrivals.statuses) <= {200, 503} and not arrivals.unexplained,
        "p99 of those admitted within 1 s": during.quantile_ms(0.99) < 1000,
        "as before afterwards": len(after.seconds) >= GOODPUT * len(before.seconds),
    }
    return row


async def _different(url: str) -> list[Ask]:
    """Rankings of 500 candidates each, no two of the same: what is asked twice in a row is cheaper the second time."""
    found: dict[str, None] = {}
    async with httpx.AsyncClient(base_url=url) as client:
        for letter in ascii_lowercase:
            answer = await client.post("/v1/search", json={"query": letter, "limit": CANDIDATES})
            found.update(dict.fromkeys(order_of(answer)))
    known = list(found)
    ids = known + [f"unknown {number}" for number in range(CANDIDATES - len(known))]
    drawn = random.Random(0)
    return [
        Ask("/v1/rank", json.dumps({
            "context": {"task": "search", "query": letter}, "candidates": drawn.sample(ids, CANDIDATES), "limit": 10,
        }).encode())
        for letter in ascii_lowercase
    ]  # fmt: skip


async def hostile_row(model: Path, work: Path, count: int) -> Row:
    """Generated nonsense, seeded: no answer may be a 5xx, and every refusal is a problem document."""
    phase, wrong = Phase(), Counter[str]()
    async with (
        service(model, work / "hostile.log", state_dir=work) as url,
        httpx.AsyncClient(base_url=url, timeout=60) as client,
    ):
        for number in range(count):
            ask, headers = hostile(random.Random(number))
            started = time.perf_counter()
            try:
                answer = await client.request(ask.method, ask.path, content=ask.body, headers=headers)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                wrong[f"{type(error).__name__} for number {number}"] += 1
                continue
            phase.sent += 1
            phase.seconds.append(time.perf_counter() - started)
            problem = answer.headers.get("content-type") == "application/problem+json"
            if answer.status_code >= 500 or (answer.status_code >= 400 and not problem):
                wrong[f"{answer.status_code} for number {number}"] += 1
        alive = (await client.get("/readyz")).status_code == 200
    phase.wrong = wrong
    row = Row("hostile requests", Phase(), phase, Phase(), note=f"{count} generated")
    row.promises = {"no 5xx, only problem documents": not wrong, "still ready": alive}
    return row


async def kill_row(work: Path, kills: int) -> Row:
    """A process that writes events is killed in the middle, again and again; all it acknowledged must be exported."""
    folder, out = work / "killed", work / "killed.jsonl"
    acknowledged: set[bytes] = set()
    for life in range(kills):
        process = subprocess.Popen([sys.executable, WRITER, folder, str(life)], stdout=subprocess.PIPE, cwd=ROOT)
        assert process.stdout is not None
        lines = await asyncio.to_thread(_until_killed, process, 0.02 + (life % 7) / 100)
        acknowledged.update(line.strip() for line in lines)
    log = EventLog(folder)  # the next life
    await log.append([b"the last"])
    log.close()
    export(folder, out)
    kept = out.read_bytes().splitlines()
    lost, twice = acknowledged - set(kept), len(kept) - len(set(kept))
    row = Row(f"kill -9, {kills} times", Phase(), Phase(len(acknowledged)), Phase())
    row.lost = f"{len(lost)} of {len(acknowledged)} acknowledged events"
    row.promises = {
        "no acknowledged event lost": not lost,
        "none twice": not twice,
        "some were kept": len(kept) > kills,
    }
    return row


def _until_killed(process: subprocess.Popen[bytes], after_s: float) -> list[bytes]:
    assert process.stdout is not None
    lines = [process.stdout.readline()]
    time.sleep(after_s)
    process.send_signal(signal.SIGKILL)
    lines += process.stdout.read().splitlines(keepends=True)
    process.stdout.close()
    process.wait()
    return [line for line in lines if line.endswith(b"\n")]


async def drain_row(model: Path, work: Path) -> Row:
    """SIGTERM while requests are under way: each that was sent is answered, and the process ends with 0."""
    phase = Phase()
    context = served(model, work / "drain.log", state_dir=work)
    process, url = await asyncio.to_thread(context.__enter__)
    asks = await asks_of(url)

    async def one(client: httpx.AsyncClient, ask: Ask) -> None:
        phase.sent += 1
        try:
            answer = await client.request(ask.method, ask.path, content=ask.body)
            phase.wrong.update([str(answer.status_code)] if answer.status_code != 200 else [])
        except httpx.HTTPError as error:
            phase.wrong[type(error).__name__] += 1

    async with contextlib.AsyncExitStack() as stack:
        made = [httpx.AsyncClient(base_url=url, timeout=30) for _ in asks * 8]
        clients = [await stack.enter_async_context(client) for client in made]
        await asyncio.gather(*(client.get("/livez") for client in clients))  # each has a connection of its own
        under_way = [asyncio.create_task(one(*pair)) for pair in zip(clients, asks * 8, strict=True)]
        await asyncio.sleep(0.1)  # all are sent
        process.send_signal(signal.SIGTERM)
        await asyncio.gather(*under_way)
    code = await asyncio.to_thread(process.wait, 30)
    with contextlib.suppress(ProcessLookupError):
        await asyncio.to_thread(context.__exit__, None, None, None)
    row = Row("SIGTERM under load", Phase(), phase, Phase(), note=f"exit code {code}")
    row.promises = {"every request answered": not phase.wrong, "exit 0": code == 0}
    return row


async def soak_row(model: Path, work: Path, minutes: float) -> Row:
    """Load for a long time: the slope of resident memory over the second half."""
    context = served(model, work / "soak.log", state_dir=work)
    process, url = await asyncio.to_thread(context.__enter__)
    try:
        asks = await asks_of(url)
        async with load(url, asks, await SameOrder.of(url, asks)) as loaded:
            points = []
            started = time.monotonic()
            while (past := time.monotonic() - started) < minutes * 60:
                points.append((past / 60, _resident_mb(process.pid)))
                await asyncio.sleep(max(0.2, minutes / 2))
            phase = loaded.turn()
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)
    late = np.array(points[len(points) // 2 :])
    slope = float(np.polyfit(late[:, 0], late[:, 1], 1)[0])
    row = Row(
        f"soak of {minutes:g} minutes", Phase(), phase, Phase(), note=f"{slope:+.2f} MB a minute, {late[-1, 1]:.0f} MB"
    )
    row.promises = {"no request fails": not phase.wrong, "at most 1 MB a minute": slope <= SLOPE_MB}
    return row


def _resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:")) / 1024
