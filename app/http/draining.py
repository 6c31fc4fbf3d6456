"""The notice before the end: between SIGTERM and the last new connection. Drains nothing itself; uvicorn does."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from app.models.serving_state import ServingState


@contextmanager
def notice(live: ServingState) -> Iterator[None]:
    """Within the block, SIGTERM makes this process say that it is `leaving`, and reaches the server a moment later:
    whoever balances load asks `/readyz` meanwhile and sends no more. SIGINT, which is Ctrl-C, ends it at once.

    Does nothing where no server waits for the signal.
    """
    waiting, wait_s = signal.getsignal(signal.SIGTERM), live.settings.drain_notice_ms / 1000
    if not wait_s or not callable(waiting) or threading.current_thread() is not threading.main_thread():
        yield
        return
    server, loop = waiting, asyncio.get_running_loop()

    def leave(signum: int, frame: FrameType | None) -> None:
        if not live.leaving:
            live.leaving = True
            loop.call_soon_threadsafe(loop.call_later, wait_s, server, signum, None)

    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, server)
