"""The server as processes: several workers, a port for the operator, a worker that dies, a drain at the end."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from app.access.keys import new_key, write_keys
from app.access.scopes import Scope

ROOT = Path(__file__).parents[1]
PATIENCE_S = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(model: Path, log: Path, **settings: object) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """`unirank serve` in processes of its own, once it is ready; its log goes to a file."""
    port = free_port()
    told = {f"UNIRANK_{name.upper()}": str(value) for name, value in {"port": port, **settings}.items()}
    command = [sys.executable, "-m", "app.cli", "serve", str(model)]
    with log.open("wb") as stream:
        process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **told}, stderr=stream, stdout=stream)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: process.poll() is not None or status(f"{url}/readyz") == 200)
        assert process.poll() is None, log.read_text()
        yield process, url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)


def wait_for(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not reached():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def status(url: str, **options: object) -> int:
    try:
        return httpx.get(url, **options).status_code  # type: ignore[arg-type]
    except httpx.TransportError:
        return 0


def workers_of(process: subprocess.Popen[bytes]) -> set[int]:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return {int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()}


def test_workers_share_both_ports_and_one_that_dies_is_replaced(model_path: Path, tmp_path: Path) -> None:
    secret, key = new_key("operator", [Scope.ADMIN, Scope.RANK])
    write_keys(tmp_path / "keys.toml", [key])
    admin, log = free_port(), tmp_path / "log"
    settings = {"workers": 2, "admin_port": admin, "api_keys_file": tmp_path / "keys.toml", "state_dir": tmp_path}
    with served(model_path, log, **settings) as (process, url):
        operator = {"x-api-key": secret}
        assert status(f"{url}/metrics", headers=operator) == 404
        assert status(f"http://127.0.0.1:{admin}/metrics") == 401
        assert status(f"http://127.0.0.1:{admin}/metrics", headers=operator) == 200
        first = workers_of(process)
        assert len(first) == 2
        os.kill(min(first), signal.SIGKILL)
        answers: list[int] = []

        def asked_until_repaired() -> bool:
            answers.extend(status(f"{url}/v1/search?q=a", headers=operator) for _ in range(10))
            return log.read_text().count("is live with") >= 3

        wait_for(asked_until_repaired)
        assert asked_until_repaired()
        assert set(answers) == {200}
        assert len(workers_of(process) - first) == 1
    assert process.returncode == 0
    assert secret not in log.read_text()
    assert not re.search(r"Traceback|q=a", log.read_text()), log.read_text()
