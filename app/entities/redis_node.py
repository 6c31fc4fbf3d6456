"""One Redis server: its circuit breaker, and the limit of concurrent calls to it. Knows no key and no record."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from app.entities.circuit_breaker import CircuitBreaker
from app.entities.redis_client import CONNECTIONS
from app.observability.metrics import Clock

T = TypeVar("T")
_FAIR = 0.5  # share of the timeout that a server must have had before its silence counts as a failure


class BreakerOpenError(Exception):
    """The circuit breaker is open after several consecutive failures."""

    def __init__(self) -> None:
        super().__init__("redis is left alone for a moment after failures in a row")


class BusyError(Exception):
    """A connection was free too late to wait for a reply; says nothing about the server's health."""


class RedisNode:
    """A server, its circuit breaker, and the permits to call it."""

    def __init__(self, clock: Clock) -> None:
        self.breaker = CircuitBreaker(clock)
        self._permits = asyncio.Semaphore(CONNECTIONS)

    async def ask(self, question: Callable[[], Awaitable[T]], timeout_s: float) -> T:
        """Await `question` within `timeout_s`, which includes waiting for a permit. Raises whatever `question` raises,
        `TimeoutError`, and `BusyError` if too little time was left for a reply.
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
        """Like `ask`, and report the outcome to the breaker. A cancelled call says nothing about the server."""
        try:
            answer = await self.ask(question, timeout_s)
        except BusyError:
            raise
        except Exception:
            self.breaker.failed()
            raise
        self.breaker.succeeded()
        return answer
