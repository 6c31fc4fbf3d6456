"""A TCP proxy between the service and Redis that can misbehave. Knows just enough of Redis to send its errors."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress

LOADING = b"-LOADING Redis is loading the dataset in memory\r\n"
READONLY = b"-READONLY You can't write against a read only replica.\r\n"
OUT_OF_MEMORY = b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"
GARBAGE = b"\x00\xff\x17 garbage \r\n"
_CANNED = {"loading": LOADING, "garbage": GARBAGE}
_CANNED_WRITES = {"readonly": READONLY, "out of memory": OUT_OF_MEMORY}
_LINGER_NOTHING = struct.pack("ii", 1, 0)  # closing sends RST


class FaultProxy:
    """Listens on a port of its own and passes everything to `target`, as far as `fault` lets it.

    "" passes · "refused" nobody listens · "reset" each connection is reset · "silent" nothing comes back ·
    "dripping" one byte a second · "loading", "garbage" to every command · "readonly", "out of memory" to writes.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._fault = ""
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def start(self) -> None:
        """Listen; on the same port again after it was refused."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Hang up on everybody."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self._hang_up()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def break_(self, fault: str) -> None:
        """From now on misbehave. Connections under way feel it, too; those that are silent or drip stay open."""
        self._fault = fault
        if fault == "refused" and self._server is not None:
            self._server.close()
            self._server = None
        if fault in ("refused", "reset"):
            self._hang_up()

    async def heal(self) -> None:
        """From now on pass everything again; connections that were stuck are closed."""
        stuck = self._fault in ("silent", "dripping")
        self._fault = ""
        if stuck:
            self._hang_up()
        if self._server is None:
            await self.start()

    def _hang_up(self) -> None:
        for writer in self._open:
            with suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOTHING)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(writer)
        try:
            if self._fault == "reset":
                self._hang_up()
                return
            await self._pass(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(writer)
            self._tasks.discard(task)
            writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, asked = await asyncio.open_connection("127.0.0.1", self._target)
        back = asyncio.create_task(self._answers(answers, writer))
        try:
            while data := await reader.read(65_536):
                if reply := self._canned(data):
                    writer.write(reply)
                else:
                    asked.write(data)
                    await asked.drain()
        finally:
            back.cancel()
            await asyncio.gather(back, return_exceptions=True)
            asked.close()

    async def _answers(self, answers: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await answers.read(65_536):
            while self._fault == "dripping" and data:
                writer.write(data[:1])
                data = data[1:]
                await asyncio.sleep(1)
            while self._fault == "silent":
                await asyncio.sleep(0.05)
            writer.write(data)

    def _canned(self, data: bytes) -> bytes:
        commands = max(1, data.count(b"\r\n*") + data.startswith(b"*"))
        if self._fault in _CANNED:
            return _CANNED[self._fault] * commands
        writes = data.upper().count(b"\r\nSET\r\n")
        return _CANNED_WRITES.get(self._fault, b"") * writes if writes else b""
