"""Delays the shutdown after SIGTERM, so that load balancers notice it. Drains no connections itself; uvicorn does."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from app.models.serving_state import ServingState


@contextmanager
def notice(state: ServingState) -> Iterator[None]:
    """Within the block, SIGTERM sets `leaving` at once and reaches the server after `drain_notice_ms`: load balancers
    that poll `/readyz` stop sending requests meanwhile. SIGINT (Ctrl-C) ends the server at once.

    Does nothing if no server handles the signal.
    """
    handler, wait_s = signal.getsignal(signal.SIGTERM), state.settings.drain_notice_ms / 1000
    if not wait_s or not callable(handler) or threading.current_thread() is not threading.main_thread():
        yield
        return
    server_handler, loop = handler, asyncio.get_running_loop()

    def leave(signum: int, frame: FrameType | None) -> None:
        if not state.leaving:
            state.leaving = True
            loop.call_soon_threadsafe(loop.call_later, wait_s, server_handler, signum, None)

    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, server_handler)
