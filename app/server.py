"""Runs the service under uvicorn, in one or several processes. Builds nothing: workers call the factory."""

from __future__ import annotations

import ipaddress
import logging
import os
import signal
import socket
import sys
from types import FrameType

import uvicorn
from uvicorn.supervisors import Multiprocess

from app.access.keys import read_keys
from app.entity_store import redis_url
from app.models.loading import find_model
from app.settings import Settings

_log = logging.getLogger("unirank")
_DRAIN_S = 10
_BACKLOG = 2048
_HUNG_S = 30  # a worker that does not answer its parent for so long is replaced; a dead one at once


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, drain, exit 0.

    Before anything starts it raises `RedisUrlError`, `ModelNotFoundError`, `KeysFileError`, or `OSError` where a port
    is taken.
    """
    if settings.redis_url:
        redis_url.check(settings.redis_url)
    if not settings.demo_if_empty:
        find_model(settings.model_path)
    if settings.api_keys_file is None:
        _warn_if_open(settings.host)
    else:
        read_keys(settings.api_keys_file)
    os.environ.update(settings.environment())  # workers are spawned and read the settings from here
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch are imported: threads of workers collide
    from app.connection import Connection

    signal.signal(signal.SIGTERM, _leave)  # uvicorn drains, then raises the signal again
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
        http=Connection,
        timeout_graceful_shutdown=_DRAIN_S,
        timeout_worker_healthcheck=_HUNG_S,
    )
    sockets = _listen(config, settings)
    if settings.workers > 1:
        Multiprocess(config, sockets=sockets).run()
    else:
        uvicorn.Server(config).run(sockets=sockets)


def _listen(config: uvicorn.Config, settings: Settings) -> list[socket.socket]:
    """The sockets that all workers accept from: the service's and, where asked for, one for the operator."""
    sockets = [config.bind_socket()]
    if settings.admin_port:
        admin = socket.create_server((settings.admin_host, settings.admin_port), backlog=_BACKLOG)
        admin.set_inheritable(True)
        sockets.append(admin)
    return sockets


def _leave(signum: int, frame: FrameType | None) -> None:
    sys.exit(0)


def _warn_if_open(host: str) -> None:
    if host != "localhost" and not _is_loopback(host):
        _log.warning("listening on %s without access control: anyone who reaches it may rank", host)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
