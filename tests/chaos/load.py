"""Steady load on a service, and what came of it: every answer with its time, its length and whether it was right."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
import numpy as np

Verdict = Callable[[httpx.Response], str]  # "" = as it should be, else what is wrong


@dataclass(frozen=True, slots=True)
class Ask:
    """One request that is sent again and again."""

    path: str
    body: bytes
    method: str = "POST"


@dataclass(slots=True)
class Phase:
    """The requests of one stretch of time. `seconds` of the answers that were right."""

    sent: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    @property
    def failed(self) -> int:
        """Requests without a right answer."""
        return sum(self.wrong.values())

    def quantile_ms(self, share: float) -> float:
        """Of the right answers; NaN where there is none."""
        return float(np.quantile(self.seconds, share) * 1000) if self.seconds else float("nan")


class Load:
    """A closed loop: each of `connections` callers asks, waits and asks again."""

    def __init__(
        self, url: str, asks: Sequence[Ask], verdict: Verdict, connections: int, headers: dict[str, str]
    ) -> None:
        self._url, self._asks, self._verdict, self._connections = url, asks, verdict, connections
        self._headers = headers
        self.phase = Phase()

    def turn(self) -> Phase:
        """Begin a new phase; returns the one that ended. A request counts where it ends."""
        ended, self.phase = self.phase, Phase()
        return ended

    async def caller(self, number: int) -> None:
        """One caller, until cancelled."""
        limits = httpx.Limits(max_connections=1)
        async with httpx.AsyncClient(base_url=self._url, timeout=30, limits=limits, headers=self._headers) as client:
            while True:
                ask = self._asks[number % len(self._asks)]
                number += self._connections
                started = time.perf_counter()
                wrong = await self._wrong(client, ask)
                phase = self.phase
                phase.sent += 1
                if wrong:
                    phase.wrong[wrong] += 1
                else:
                    phase.seconds.append(time.perf_counter() - started)

    async def _wrong(self, client: httpx.AsyncClient, ask: Ask) -> str:
        try:
            return self._verdict(await client.request(ask.method, ask.path, content=ask.body))
        except httpx.HTTPError as error:
            return type(error).__name__


@asynccontextmanager
async def load(
    url: str, asks: Sequence[Ask], verdict: Verdict, connections: int = 4, headers: dict[str, str] | None = None
) -> AsyncIterator[Load]:
    """Load for the length of the block."""
    made = Load(url, asks, verdict, connections, headers or {})
    callers = [asyncio.create_task(made.caller(number)) for number in range(connections)]
    try:
        yield made
    finally:
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
