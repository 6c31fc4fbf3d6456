"""One Redis server as this process sees it: how it has done, and who may ask it now. Knows no key and no record."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from app.entities.circuit_breaker import CircuitBreaker
from app.entities.redis_client import CONNECTIONS
from app.observability.metrics import Clock

T = TypeVar("T")
_FAIR = 0.5  # share of the timeout that a server must have had before its silence counts


class LeftAloneError(Exception):
    """It failed several times in a row and is spared for a moment."""

    def __init__(self) -> None:
        super().__init__("redis is left alone for a moment after failures in a row")


class BusyError(Exception):
    """There was no time left once others had been answered; it says nothing of the server."""


class RedisNode:
    """A server, its breaker, and the permits to ask it."""

    def __init__(self, clock: Clock) -> None:
        self.breaker = CircuitBreaker(clock)
        self._permits = asyncio.Semaphore(CONNECTIONS)

    async def ask(self, question: Callable[[], Awaitable[T]], timeout_s: float) -> T:
        """The answer. Waiting for a permit is part of the time. Raises whatever `question` raises, `TimeoutError`, and
        `BusyError` where too little of the time was left for an answer.
        """
        loop = asyncio.get_running_loop()
        ends = loop.time() + timeout_s
        try:
            async with asyncio.timeout_at(ends):
                await self._permits.acquire()
        except TimeoutError as error:
            raise BusyError("no connection was free") from error
        fair = ends - loop.time() >= _FAIR * timeout_s
        try:
            async with asyncio.timeout_at(ends):
                return await question()
        except TimeoutError as error:
            if fair:
                raise
            raise BusyError("a connection was free too late") from error
        finally:
            self._permits.release()

    async def judged(self, question: Callable[[], Awaitable[T]], timeout_s: float) -> T:
        """The same, and the breaker learns how it went. A caller who leaves says nothing of the server."""
        try:
            answer = await self.ask(question, timeout_s)
        except BusyError:
            raise
        except Exception:
            self.breaker.failed()
            raise
        self.breaker.succeeded()
        return answer
