"""The service behind connections of the project's own protocol class, for tests that send raw bytes. Tests nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import uvicorn
from app_fakes import app_of
from fastapi import FastAPI
from uvicorn.server import ServerState

from app.http.protocol import HttpConnection

LIVE = b"GET /livez HTTP/1.1\r\nHost: x\r\n"
SEARCH = b"POST /v1/search HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


@asynccontextmanager
async def port_of(app: FastAPI | None = None, keep_alive_s: int = 5, **changes: object) -> AsyncIterator[int]:
    """The port of a server in this event loop: of `app`, or of an application with these settings."""
    config = uvicorn.Config(
        app or app_of(**changes), log_level="critical", http=HttpConnection, timeout_keep_alive=keep_alive_s
    )
    state, loop = ServerState(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: HttpConnection(config, state, {}), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for connection in list(state.connections):
            connection.shutdown()
        await asyncio.sleep(0)


async def say(port: int, pieces: Sequence[bytes], pause_s: float = 0.0) -> bytes:
    """Send piece after piece while the server listens; return what it sent until it closed or was silent for 1 s."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    hearing = asyncio.create_task(_hear(reader))
    with suppress(ConnectionError):
        for piece in pieces:
            if hearing.done():
                break
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause_s)
    said = await hearing
    writer.close()
    return said


async def _hear(reader: asyncio.StreamReader) -> bytes:
    said = b""
    with suppress(ConnectionError, TimeoutError):
        while data := await asyncio.wait_for(reader.read(65_536), 1.0):
            said += data
    return said
