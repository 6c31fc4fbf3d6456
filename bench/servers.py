"""The servers to compare: how each is started, on which cores, and how it is stopped. Measures nothing.

Each runs in its own process group and home folder, serves on the loopback only and sends no usage statistics.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import process
from bench.equal import DifferentAnswerError, answers_at_all
from bench.plain import FAST

ROOT = Path(__file__).parents[1]
OURS = "unirank"
RIVALS = ("fastapi", "litserve", "bentoml", "ray")
TITLES = {
    OURS: "unirank",
    "fastapi": "FastAPI + pydantic + torch",
    "litserve": "LitServe",
    "bentoml": "BentoML",
    "ray": "Ray Serve",
}
_DISTRIBUTIONS = {OURS: "unirank", "fastapi": "fastapi", "litserve": "litserve", "bentoml": "bentoml", "ray": "ray"}
_MODULES = {
    "fastapi": "bench.rivals.plain_fastapi",
    "litserve": "bench.rivals.lit",
    "bentoml": "bench.rivals.bento_start",
    "ray": "bench.rivals.ray_serve",
}
_START_S = 120.0
_STOP_S = 20.0
_QUIET = {"BENTOML_DO_NOT_TRACK": "True", "RAY_USAGE_STATS_ENABLED": "0", "DO_NOT_TRACK": "1"}
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class NotStartedError(RuntimeError):
    """A server never answered; the message has its last log line."""


@dataclass(frozen=True, slots=True)
class Server:
    """One way to serve the model. `rivals_python` is the interpreter of the rivals' environment."""

    name: str
    model: Path
    rivals_python: Path
    fast: bool = False
    workers: int = 1

    @property
    def path(self) -> str:
        """The path of its ranking route."""
        return "/v1/rank" if self.name == OURS else "/rank"

    @property
    def python(self) -> Path:
        """The interpreter. Plain FastAPI needs only what the service has, so it runs with the same releases."""
        return Path(sys.executable) if self.name in (OURS, "fastapi") else self.rivals_python

    def command(self, port: int) -> list[str]:
        """The command that starts it."""
        if self.name == OURS:
            serve = ["-m", "app.cli", "serve", str(self.model), "--port", str(port), "--workers", str(self.workers)]
            return [str(self.python), *serve]
        return [str(self.python), "-m", _MODULES[self.name], str(self.model), str(port)]

    def environment(self, home: Path) -> dict[str, str]:
        """Its environment: one thread, its own home, none of the caller's settings."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("UNIRANK_")}
        own = {
            "HOME": str(home),
            "TMPDIR": str(home),
            "UNIRANK_STATE_DIR": str(home / "state"),
            FAST: str(int(self.fast)),
        }
        return {**inherited, **_ONE_THREAD, **_QUIET, **own, "PYTHONPATH": str(ROOT), "BENTOML_HOME": str(home)}

    def version(self) -> str | None:
        """The installed release; None if it is not installed."""
        if not self.python.exists():
            return None
        script = f"from importlib.metadata import version; print(version({_DISTRIBUTIONS[self.name]!r}))"
        process_result = subprocess.run([str(self.python), "-c", script], capture_output=True, text=True, check=False)
        return process_result.stdout.strip() if process_result.returncode == 0 else None


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers."""

    url: str
    pid: int

    def pids(self) -> list[int]:
        """All its processes."""
        return process.tree(self.pid)


@contextmanager
def running(server: Server, body: bytes, cores: Collection[int]) -> Iterator[Running]:
    """A server on these cores, once it answers `body`. Raises `NotStartedError` with its last log line."""
    home = Path(tempfile.mkdtemp(prefix="ub-"))  # short: socket paths inside it have a limit of 107 characters
    port = free_port()
    with (home / "log").open("wb") as log, process.on_cores(cores):
        started = subprocess.Popen(
            server.command(port), cwd=ROOT, env=server.environment(home), stdout=log, stderr=log, start_new_session=True
        )
    live = Running(f"http://127.0.0.1:{port}", started.pid)
    try:
        _wait(started, live, server.path, body, home / "log")
        process.pin(live.pids(), cores)
        yield live
    finally:
        _stop(started)
        shutil.rmtree(home, ignore_errors=True)


def free_port() -> int:
    """A free port on the loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(started: subprocess.Popen[bytes], live: Running, path: str, body: bytes, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    reason = "it did not answer in time"
    while time.monotonic() < deadline:
        if started.poll() is not None:
            reason = f"it ended with exit code {started.returncode}"
            break
        try:
            answers_at_all(live.url, path, body)
            return
        except (OSError, DifferentAnswerError) as error:
            reason = str(error)
            time.sleep(0.2)
    raise NotStartedError(f"{reason}; its last words: {_last_line(log)}")


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "none"


def _stop(started: subprocess.Popen[bytes]) -> None:
    """Terminate the first process, which drains, then all processes that it leaves behind."""
    descendants = process.seen(process.tree(started.pid))
    started.terminate()
    try:
        started.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        started.kill()
        started.wait()
    process.end(descendants, _STOP_S / 4)
