"""Writes all records of a model into Redis before it serves, so that the first requests need not compute them.

Keys and values are those of the Redis tier (`redis.py`). Publishing again writes the same values and renews their
lifetimes. Only a few thousand records are in memory at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from app.entities.redis import RedisTier
from app.entities.tier import TierError
from model.artefact.contents import ArtefactContents
from model.artefact.lookups import Lookups
from model.catalogue.encoding import chunks

TIMEOUT_MS = 5_000  # of one pipeline; no request waits for it
_CHUNK = 2_048  # records packed at once
Report = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class Published:
    """Number of records and bytes written, and the time taken."""

    records: int
    value_bytes: int
    took_s: float

    @property
    def per_s(self) -> float:
        """Records per second."""
        return self.records / max(self.took_s, 1e-9)


async def publish(contents: ArtefactContents, url: str, ttl_s: int, report: Report = lambda *_: None) -> Published:
    """Write every record of a model. Raises `ConnectionError` if Redis fails, `ValueError` for a bad URL."""
    assert contents.lookups is not None
    tier = RedisTier(url, contents.manifest.version, TIMEOUT_MS, ttl_s, time.monotonic)
    try:
        return await _publish(contents, contents.lookups, tier, report)
    except TierError as error:
        raise ConnectionError(str(error)) from error
    finally:
        await tier.close()


async def _publish(contents: ArtefactContents, lookups: Lookups, tier: RedisTier, report: Report) -> Published:
    total, written, started = len(contents.records), 0, time.perf_counter()
    for start, end in chunks(total, _CHUNK):
        packed = contents.layout.pack(contents.records.take(np.arange(start, end)))
        await tier.put(dict(zip(lookups.directory.ids[start:end], packed, strict=True)))
        written += sum(map(len, packed))
        progress = Published(end, written, time.perf_counter() - started)
        report(end, total, f"{progress.per_s:,.0f} records/s")
    return Published(total, written, time.perf_counter() - started)
