"""The plan of a run: what to measure, and for how long. Measures nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.limit import WAYS
from bench.servers import OURS, RIVALS

PARTS = ("limit", "servers", "latency", "workers")
COUNTS = (25, 100, 200, 300, 500, 1000)
LATENCY_COUNTS = (100, 300, 1000)
LATENCY_RUNS = 3
WORKERS = (1, 2, 3)  # the third shows the memory of one more worker
_START_S = {OURS: 5.0, "fastapi": 4.0, "litserve": 8.0, "bentoml": 10.0, "ray": 25.0}  # including the time to stop


@dataclass(frozen=True, slots=True)
class Plan:
    """All options of a run. `shares`: of the peak rate that the same server reached in its closed loops."""

    rivals_python: Path
    servers: tuple[str, ...] = (OURS, *RIVALS)
    parts: tuple[str, ...] = PARTS
    tables: tuple[str, ...] = ("A", "B")
    candidates: tuple[int, ...] = (100, 300, 500)
    connections: tuple[int, ...] = (1, 8)
    shares: tuple[float, ...] = (0.8,)
    open_candidates: tuple[int, ...] = ()  # none = the headline
    seconds: float = 3.0
    bodies: int = 300
    seed: int = 0
    server_core: int = 1
    load_core: int = 0
    catalogues: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        _check_known("servers", self.servers, (OURS, *RIVALS))
        _check_known("parts", self.parts, PARTS)
        _check_known("tables", self.tables, ("A", "B"))
        _check_known("cores", (self.server_core, self.load_core), tuple(sorted(os.sched_getaffinity(0))))
        _check_known("open candidates", self.open_candidates, self.candidates)
        if OURS not in self.servers:
            raise ValueError(f"servers: expected '{OURS}' among them, the others are compared with it")

    def needed_candidates(self) -> tuple[int, ...]:
        """Every number of candidates that some part needs."""
        latency = LATENCY_COUNTS if "latency" in self.parts else ()
        return tuple(sorted({*self.candidates, *latency}))

    @property
    def opened(self) -> tuple[int, ...]:
        """The numbers of candidates with open loops."""
        return self.open_candidates or (self.headline,)

    @property
    def headline(self) -> int:
        """The number of candidates of single figures: 500 if measured, else the largest."""
        return 500 if 500 in self.candidates else max(self.candidates)

    @property
    def warm_s(self) -> float:
        """Seconds of warm-up load before each measurement."""
        return min(1.0, self.seconds / 3)

    def rounds(self) -> list[tuple[str, bool]]:
        """(server, whether it uses the fast scorer); ours, which has no other scorer, comes first."""
        rivals = [name for name in self.servers if name != OURS]
        plain = [(name, False) for name in rivals if "A" in self.tables]
        fast = [(name, True) for name in rivals if "B" in self.tables]
        return [(OURS, False), *plain, *fast]

    def round_s(self, name: str) -> float:
        """Estimated seconds for one server."""
        closed = len(self.candidates) * len(self.connections)
        opened = len(self.opened) * len(self.shares)
        return _START_S[name] + (closed + opened) * (self.seconds + self.warm_s)

    def part_s(self, part: str) -> float:
        """Estimated seconds for one part."""
        if part == "servers":
            return sum(self.round_s(name) for name, _ in self.rounds())
        if part == "limit":
            return (1 + len(self.catalogues)) * (5 + len(WAYS) * len(self.needed_candidates()) * self.seconds)
        if part == "latency":
            return LATENCY_RUNS * (_START_S[OURS] + len(LATENCY_COUNTS) * (self.seconds + self.warm_s))
        return sum(_START_S[OURS] + 3 * workers + self.seconds + self.warm_s for workers in WORKERS)

    def total_s(self) -> float:
        """Estimated seconds for the whole run."""
        return sum(self.part_s(part) for part in self.parts)


def _check_known(what: str, chosen: Sequence[object], known: Sequence[object]) -> None:
    if unknown := [str(name) for name in chosen if name not in known]:
        raise ValueError(f"{what}: no {', '.join(unknown)}; there are {', '.join(map(str, known))}")
