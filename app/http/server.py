"""Runs the service under uvicorn, in one or several processes. Creates no application: workers call the factory."""

from __future__ import annotations

import ipaddress
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from types import FrameType

import uvicorn
from uvicorn.supervisors import Multiprocess

from app.entities import redis_url
from app.http.auth.keys import read_keys
from app.models.loading import find_model
from app.settings import Settings

_log = logging.getLogger("unirank")
_DRAIN_S = 10
_BACKLOG = 2048
_SHARED_METRICS = ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir")
_WORKER_TIMEOUT_S = 30  # a worker that does not answer its parent for this long is replaced; a dead one at once


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, drain, exit with code 0.

    Before the server starts, raises `RedisUrlError`, `ModelNotFoundError`, `KeysFileError`, or `OSError` if a port is
    in use.
    """
    if settings.redis_url:
        redis_url.check(settings.redis_url)
    if not settings.demo_if_empty:
        find_model(settings.model_path)
    if settings.api_keys_file is None:
        _warn_if_open(settings.host)
    else:
        read_keys(settings.api_keys_file)
    os.environ.update(settings.environment())  # spawned workers read their settings from it
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch are imported: threads of workers collide
    for name in _SHARED_METRICS:  # prometheus_client reads them when it is imported, which happens later
        os.environ.pop(name, None)
    from app.http.protocol import HttpConnection

    signal.signal(signal.SIGTERM, _exit)  # uvicorn drains, then raises the signal again
    config = uvicorn.Config(
        "app.main:create_app_from_env",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        log_level=settings.log_level,
        access_log=False,  # request lines hold queries and user ids
        server_header=False,
        backlog=_BACKLOG,
        http=HttpConnection,
        timeout_graceful_shutdown=_DRAIN_S,
        timeout_worker_healthcheck=_WORKER_TIMEOUT_S,
    )
    sockets = _listen(config, settings)
    if settings.workers > 1:
        _run_workers(config, sockets, settings)
    else:
        uvicorn.Server(config).run(sockets=sockets)


class _Workers(Multiprocess):
    """Several worker processes that share their metrics in a folder. At shutdown, all report not ready first."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket], folder: Path) -> None:
        super().__init__(config, sockets)
        self._folder = folder

    def keep_subprocess_alive(self) -> None:
        """Replace dead workers, and remove their gauges from the sums."""
        from app.observability.worker_metrics import forget_dead

        super().keep_subprocess_alive()
        forget_dead(self._folder, [process.pid for process in self.processes if process.pid is not None])

    def handle_term(self) -> None:
        """Mark the service as stopping, before the workers get the signal."""
        from app.observability.worker_metrics import mark_stopping

        mark_stopping(self._folder)
        super().handle_term()


def _run_workers(config: uvicorn.Config, sockets: list[socket.socket], settings: Settings) -> None:
    from app.observability.worker_metrics import shared_folder

    with shared_folder(settings.state_dir.expanduser()) as folder:
        _Workers(config, sockets, folder).run()


def _listen(config: uvicorn.Config, settings: Settings) -> list[socket.socket]:
    """The sockets that all workers accept from: the service's and, if configured, the admin port's."""
    sockets = [config.bind_socket()]
    if settings.admin_port:
        admin = socket.create_server((settings.admin_host, settings.admin_port), backlog=_BACKLOG)
        admin.set_inheritable(True)
        sockets.append(admin)
    return sockets


def _exit(signum: int, frame: FrameType | None) -> None:
    sys.exit(0)


def _warn_if_open(host: str) -> None:
    if host != "localhost" and not _is_loopback(host):
        _log.warning("listening on %s without access control: anyone who reaches it may rank", host)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
