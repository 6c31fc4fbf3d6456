"""Callers that mean harm by how they call: bodies that take long to read, connections that are left half-read."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from server_process import served

from app.http.auth.keys import new_key, write_keys
from app.http.auth.scopes import Scope
from chaos.load import Ask, Phase, load
from chaos.rows import Row

_MB = 1_990_000
_WORST_MS = 250.0  # as the caller sees it, who sends 2 MB beside; the service is busy with one for 30 ms at most
_PIECES = (
    b"POST /v1/rank HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n", b"GET /livez HT", b"",
    b"POST /v1/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n",
    b"POST /v1/rank HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n",
)  # fmt: skip


def stalling() -> list[bytes]:
    """Bodies of 2 MB that once took up to seconds to refuse."""
    before = b'{"context":{"task":"search"},"boosts":['
    units = (b"1,", b"[],", b"NaN,", b'"a",', b'{"a":1},', b'"\\u0000",', b"[[[[[[[[[[1]]]]]]]]]],")
    filled = [before + unit * (_MB // len(unit)) + end for unit in units for end in (b'1],"x":1}', b"NaN]}")]
    texts = [before + b'"' + unit * (_MB // len(unit)) + b'"]}' for unit in (b"\\u0000", b"\\ud800", b"a", b'\\"')]
    deep = (
        b'{"context":{"task":"search"},"boosts":' + b"[" * 29 + b"1," * (_MB // 2 - 60) + b"1" + b"]" * 29 + b',"x":1}'
    )
    return [*filled, *texts, deep, b"[" * _MB, b'{"a":' * (_MB // 5), before + b"9" * _MB + b"]}"]


async def stall_row(model: Path, work: Path, seconds: float) -> Row:
    """Such bodies one after another, while somebody asks `/livez`."""
    context = served(model, work / "stall.log", state_dir=work)
    _, url = await asyncio.to_thread(context.__enter__)
    try:
        bodies, refused = stalling(), Phase()
        async with load(url, [Ask("/livez", b"", "GET")], _alive, 1) as loaded:
            await asyncio.sleep(min(seconds, 2.0))
            before = loaded.turn()
            async with httpx.AsyncClient(base_url=url, timeout=60) as client:
                for body in bodies:
                    answer = await client.post("/v1/rank", content=body)
                    refused.wrong.update([str(answer.status_code)] if answer.status_code not in (400, 422) else [])
            during = loaded.turn()
            await asyncio.sleep(min(seconds, 2.0))
            after = loaded.turn()
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)
    worst = max(during.seconds, default=float("inf")) * 1000
    row = Row("bodies that stall", before, during, after, note=f"{len(bodies)} bodies; /livez at worst {worst:.0f} ms")
    row.promises = {
        "every body refused": not refused.wrong,
        "/livez always answers": not row.failed,
        f"within {_WORST_MS:g} ms": worst < _WORST_MS,
    }
    return row


def _alive(answer: httpx.Response) -> str:
    return "" if answer.status_code == 200 else str(answer.status_code)


async def half_read_row(model: Path, work: Path, count: int) -> Row:
    """Connections without a key that send a part of a request, and one byte more after the answer."""
    write_keys(work / "keys.toml", [new_key("k", [Scope.RANK])[1]])
    context = served(model, work / "half.log", state_dir=work, api_keys_file=work / "keys.toml")
    process, url = await asyncio.to_thread(context.__enter__)
    try:
        held = _sockets(process.pid)
        async with load(url, [Ask("/livez", b"", "GET")], _alive, 1) as loaded:
            await asyncio.sleep(0.3)
            before = loaded.turn()
            writers = [await _half(url, _PIECES[number % len(_PIECES)]) for number in range(count)]
            most = _sockets(process.pid)
            await _until_closed(process.pid, held + 2)
            during = loaded.turn()
            await asyncio.sleep(0.3)
            after = loaded.turn()
        left = _sockets(process.pid) - held
        for writer in writers:
            writer.close()
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)
    row = Row(
        f"{count} half-read connections", before, during, after, note=f"{most} sockets, then {left} more than before"
    )
    row.promises = {"/livez always answers": not row.failed, "no socket is left": left <= 2}
    return row


async def _half(url: str, piece: bytes) -> asyncio.StreamWriter:
    target = urlsplit(url)
    reader, writer = await asyncio.open_connection(target.hostname, target.port)
    writer.write(piece)
    if piece.startswith(b"POST"):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"1")
    return writer


async def _until_closed(pid: int, most: int, within_s: float = 20.0) -> None:
    ends = time.monotonic() + within_s
    while _sockets(pid) > most and time.monotonic() < ends:
        await asyncio.sleep(0.1)


def _sockets(pid: int) -> int:
    """Sockets that a process holds."""
    links = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            links.append(os.readlink(f"/proc/{pid}/fd/{name}"))
    return sum(link.startswith("socket:") for link in links)
