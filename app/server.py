"""Runs the service under uvicorn, in one or several processes. Builds nothing: workers call the factory."""

from __future__ import annotations

import ipaddress
import logging
import os
import signal
import sys
from types import FrameType

import uvicorn

from app.model_registry import find_model
from app.settings import Settings

_log = logging.getLogger("unirank")
_DRAIN_S = 10
_BACKLOG = 2048


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, drain, exit 0. Raises `ModelNotFoundError` before anything starts."""
    if not settings.demo_if_empty:
        find_model(settings.model_path)
    _warn_if_open(settings.host)
    os.environ.update(settings.environment())  # workers are spawned and read the settings from here
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: threads of workers collide
    signal.signal(signal.SIGTERM, _leave)  # uvicorn drains, then raises the signal again
    uvicorn.run(
        "app.main:create_app_from_env",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        log_level=settings.log_level,
        access_log=False,  # request lines hold queries and user ids
        server_header=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=_DRAIN_S,
    )


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
