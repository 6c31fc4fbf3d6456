"""The service as a process, for tests that kill, stop and drain it. Tests nothing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]
PATIENCE_S = 180.0  # a start takes seconds, on a machine that does much else a minute


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(reached: Callable[[], bool]) -> None:
    """Return once it is so; fail after three minutes."""
    deadline = time.monotonic() + PATIENCE_S
    while not reached():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def status(url: str, **options: object) -> int:
    """The status of a GET; 0 = no answer."""
    try:
        return httpx.get(url, **options).status_code  # type: ignore[arg-type]
    except httpx.TransportError:
        return 0


@contextmanager
def served(model: Path, log: Path, **settings: object) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """`unirank serve` once it and all its workers are ready, and its URL; its log goes to a file. Ends with SIGTERM."""
    port = int(str(settings.pop("port", free_port())))
    chosen = {"port": port, "drain_notice_ms": 0, **settings}
    told = {f"UNIRANK_{name.upper()}": str(value) for name, value in chosen.items()}
    command = [sys.executable, "-m", "app.cli", "serve", str(model)]
    before = log.read_bytes().count(b"Application startup complete") if log.exists() else 0
    with log.open("ab") as stream:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **told}, stderr=stream, stdout=stream, start_new_session=True
        )
    try:
        url = f"http://127.0.0.1:{port}"
        workers = int(str(settings.get("workers", 1)))
        ready = b"Application startup complete"  # a worker that starts takes SIGTERM without notice
        wait_for(lambda: process.poll() is not None or log.read_bytes().count(ready) >= before + workers)
        wait_for(lambda: process.poll() is not None or status(f"{url}/readyz") == 200)
        assert process.poll() is None, log.read_text()
        yield process, url
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM; whatever is left after a while is killed, so that no later test shares the machine with it."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise


def workers_of(process: subprocess.Popen[bytes]) -> list[int]:
    """Process ids of its workers."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
