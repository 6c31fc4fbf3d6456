"""Rankings whose records nobody holds: Redis refuses, process memory is small, the deadline is short."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from pathlib import Path

import httpx
import polars as pl
from server_process import free_port

from chaos.load import Phase
from chaos.redis_faults import service
from chaos.rows import Row

AT_ONCE = 8
CANDIDATES = 2_000
TIMEOUT_MS = 200
GRACE_MS = 100.0  # reading eight bodies and writing eight answers of 2,000 candidates, on one core


async def deadline_row(
    model: Path, work: Path, rounds: int, timeout_ms: int = TIMEOUT_MS, grace_ms: float = GRACE_MS
) -> Row:
    """Eight rankings of 2,000 candidates at once, again and again; or of as many as the catalogue has."""
    ids = pl.read_parquet(model / "entities.parquet", columns=["entity_id"])["entity_id"].to_list()
    phase, drawn, scored = Phase(), random.Random(0), Counter[str]()
    settings = {"redis_url": f"redis://127.0.0.1:{free_port()}", "memory_entities": 1, "state_dir": work}
    async with (
        service(model, work / "deadlines.log", apart=True, **settings) as url,
        httpx.AsyncClient(base_url=url, timeout=60) as client,
    ):

        def body() -> bytes:
            chosen = drawn.sample(ids, min(CANDIDATES, len(ids)))
            context = {"task": "search", "query": "a"}
            asked = {"context": context, "candidates": chosen, "timeout_ms": timeout_ms, "limit": 10}
            return json.dumps(asked).encode()

        async def ask(content: bytes) -> None:
            started = time.perf_counter()
            answer = await client.post("/v1/rank", content=content)
            phase.seconds.append(time.perf_counter() - started)
            phase.sent += 1
            phase.wrong.update(_wrong(answer))
            scored[str(answer.status_code)] += answer.json().get("coverage", {}).get("scored", 0)

        for _ in range(rounds):
            await asyncio.gather(*map(ask, [body() for _ in range(AT_ONCE)]))
        alive = (await client.get("/readyz")).status_code == 200
    row = Row("no record at hand", Phase(), phase, Phase())
    row.note = f"{scored['200']} of {phase.sent * min(CANDIDATES, len(ids))} candidates scored, all in {timeout_ms} ms"
    row.promises = {
        "answered, or refused with 503": not phase.wrong,
        "some candidates are scored": scored["200"] > 0,
        "p99 within the deadline and a little": phase.quantile_ms(0.99) < timeout_ms + grace_ms,
        "still ready": alive,
    }
    return row


def _wrong(answer: httpx.Response) -> list[str]:
    """What is wrong with an answer: nothing, where it says how far it got or when to come back."""
    if answer.status_code == 503:
        return [] if "retry-after" in answer.headers else ["503 without Retry-After"]
    if answer.status_code != 200:
        return [str(answer.status_code)]
    body = answer.json()
    short = body["coverage"]["scored"] < body["coverage"]["requested"]
    return ["not said to be late"] if short and "deadline" not in body["degraded"] else []
