"""What a fault cost, as one row of the table, and the helpers that every fault needs."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import httpx

from chaos.load import Ask, Load, Phase

Step = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Row:
    """One line: requests of all phases, those that failed, latency before, during and after, and what was lost."""

    fault: str
    before: Phase
    during: Phase
    after: Phase
    lost: str = "nothing"
    note: str = ""
    promises: dict[str, bool] = field(default_factory=dict)

    @property
    def sent(self) -> int:
        """Requests of all phases."""
        return sum(phase.sent for phase in (self.before, self.during, self.after))

    @property
    def failed(self) -> Counter[str]:
        """Why requests failed, and how often."""
        return self.before.wrong + self.during.wrong + self.after.wrong

    @property
    def kept(self) -> bool:
        """Whether every promise was kept."""
        return all(self.promises.values())

    def to_json(self) -> dict[str, object]:
        """For the report."""
        phases = {"before": self.before, "during": self.during, "after": self.after}
        ms = {name: [round(phase.quantile_ms(q), 2) for q in (0.5, 0.99)] for name, phase in phases.items()}
        return {
            "fault": self.fault, "sent": self.sent, "failed": dict(self.failed), "p50 and p99 in ms": ms,
            "lost": self.lost, "note": self.note, "promises": self.promises,
        }  # fmt: skip


async def three_phases(loaded: Load, seconds: float, break_it: Step, heal: Step, settle_s: float) -> list[Phase]:
    """Before, during and after a fault, each so long; the time to recover counts as during."""
    loaded.turn()
    await asyncio.sleep(seconds)
    before = loaded.turn()
    await break_it()
    await asyncio.sleep(seconds)
    await heal()
    await asyncio.sleep(settle_s)
    during = loaded.turn()
    await asyncio.sleep(seconds)
    return [before, during, loaded.turn()]


async def asks_of(url: str, headers: dict[str, str] | None = None) -> list[Ask]:
    """A search, a homepage and more-like-this over what the service knows."""
    async with httpx.AsyncClient(base_url=url, timeout=60, headers=headers) as client:
        first = (await client.post("/v1/search", json={"query": "a", "limit": 20})).json()["items"]
    ids = [item["id"] for item in first]
    assert ids, "the service found nothing to rank"
    return [
        Ask("/v1/search", json.dumps({"query": "a", "limit": 10}).encode()),
        Ask("/v1/homepage", json.dumps({"rows": [{"row_id": "r", "candidates": ids}]}).encode()),
        Ask(f"/v1/more-like-this/{ids[0]}", json.dumps({"limit": 10}).encode()),
    ]


def order_of(answer: httpx.Response) -> list[str]:
    """The ids of an answer, best first."""
    body = answer.json()
    lists = [row["items"] for row in body["rows"]] if "rows" in body else [body["items"]]
    return [item["id"] for items in lists for item in items]


def flags_of(answer: httpx.Response) -> set[str]:
    """The `degraded` codes of an answer."""
    body = answer.json()
    parts = body.get("rows", [body])
    return {code for part in parts for code in part["degraded"]}


class SameOrder:
    """A verdict: answered, and in the order of the first time that it was asked. Counts the flags."""

    def __init__(self, expected: dict[str, list[str]]) -> None:
        self._expected = expected
        self.flags: Counter[str] = Counter()

    @classmethod
    async def of(cls, url: str, asks: Sequence[Ask]) -> SameOrder:
        """Ask everything once, while all is well."""
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            return cls({ask.path: order_of(await client.post(ask.path, content=ask.body)) for ask in asks})

    def __call__(self, answer: httpx.Response) -> str:
        """What is wrong with an answer."""
        if answer.status_code != 200:
            return str(answer.status_code)
        self.flags.update(flags_of(answer))
        return "" if order_of(answer) == self._expected[answer.request.url.path] else "another order"
