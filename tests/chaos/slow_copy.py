"""A model is copied in slowly while the service runs, manifest first: it goes live once it is whole."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path

import httpx

from app.models.registry import LIVE, MANIFEST
from chaos.load import load
from chaos.others import shelf_of_two
from chaos.redis_faults import service
from chaos.rows import Row, SameOrder, asks_of
from model.artefact.reading import read
from model.artefact.writing import write

LONGEST_S = 20.0  # from the last byte until it serves: the pause after a refusal, and reading and checking it


async def slow_copy_row(model: Path, work: Path, seconds: float) -> Row:
    """`LIVE` names a folder into which the files come one after the other; requests go on."""
    shelf = await asyncio.to_thread(shelf_of_two, model, work)
    whole, copied = work / "whole", shelf / "copied"
    manifest = await asyncio.to_thread(write, whole, read(model), "copied")
    try:
        async with service(shelf, work / "copied.log", state_dir=work) as url:
            asks = await asks_of(url)
            verdict = await SameOrder.of(url, asks)
            async with load(url, asks, verdict) as loaded, httpx.AsyncClient(base_url=url, timeout=60) as operator:
                await asyncio.sleep(seconds)
                before = loaded.turn()
                refused = await _copy(whole, copied, shelf, operator, seconds)
                took_s = await _live(operator, manifest.version)
                during = loaded.turn()
                await asyncio.sleep(seconds)
                after = loaded.turn()
    finally:
        (shelf / LIVE).write_text("one\n")
        shutil.rmtree(copied, ignore_errors=True)
        shutil.rmtree(whole)
    row = Row("model copied in slowly", before, during, after, note=f"live {took_s:.1f} s after its last file")
    row.promises = {
        "no request fails": not row.failed,
        "refused with the reason meanwhile": bool(refused),
        "live once it is whole": took_s < LONGEST_S,
    }
    return row


async def _copy(whole: Path, copied: Path, shelf: Path, operator: httpx.AsyncClient, seconds: float) -> set[str]:
    """Copy all files, half of each at first; what the service said of the folder meanwhile."""
    files = sorted(whole.iterdir(), key=lambda file: (file.name != MANIFEST, file.name))
    copied.mkdir()
    said: set[str] = set()
    for file in files:
        content = file.read_bytes()
        (copied / file.name).write_bytes(content if file.name == MANIFEST else content[: len(content) // 2])
        (shelf / LIVE).write_text("copied\n")
        await asyncio.sleep(max(seconds, 2.5) / len(files))
        (copied / file.name).write_bytes(content)
        listed = (await operator.get("/v1/models")).json()["models"]
        said |= {str(model["refused"]) for model in listed if model["name"] == "copied"} - {"None"}
    return said


async def _live(operator: httpx.AsyncClient, version: str) -> float:
    """Seconds until the service answers with that version; the longest where it does not."""
    began = time.monotonic()
    while (past := time.monotonic() - began) < LONGEST_S:
        if (await operator.get("/readyz")).json()["model"]["version"] == version:
            break
        await asyncio.sleep(0.1)
    return past
