"""Summarises a run: computes ratios, fits and aims from its figures. Measures nothing.

A figure that was not measured is None, and so is whether its aim was reached.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

OURS = "unirank"
FASTAPI = "fastapi"
FRAMEWORKS = ("litserve", "bentoml", "ray")
HEADLINE_CONNECTIONS = 8
LATENCY_AIMS = {"100": (2, 4), "300": (3, 6), "1000": (8, 16)}  # candidates → p50, p99 in ms

Row = Mapping[str, Any]


def summary(result: Row) -> dict[str, Any]:
    """Ratios, fits and aims of a result, which may be incomplete."""
    headline = result["about"]["plan"]["headline"]
    connections = headline_connections(result)
    return {
        "candidates": headline,
        "connections": connections,
        "ratios": {table: ratios(result, table, headline, connections) for table in ("A", "B")},
        "fit": {"limit": limit_fit(result), "one_connection": connection_fit(result)},
        "latency": {count: best_run(runs) for count, runs in result.get("latency", {}).items()},
        "added_ms": added_ms(result, headline),
        "share_of_limit": share_of_limit(result, headline),
        "workers": workers(result.get("workers", {})),
        "catalogues": catalogues(result, headline),
        "aims": aims(result, headline, connections),
    }


def headline_connections(result: Row) -> int:
    """The number of connections for which ratios are computed."""
    chosen: Sequence[int] = result["about"]["plan"]["connections"]
    return HEADLINE_CONNECTIONS if HEADLINE_CONNECTIONS in chosen else max(chosen)


def cell(result: Row, name: str, table: str, candidates: int, connections: int) -> Row | None:
    """One closed loop of a server; None if it was not measured."""
    for server in result["servers"]:
        if server["name"] == name and server["table"] == table:
            for loop in server.get("closed", ()):
                if loop["candidates"] == candidates and loop["connections"] == connections:
                    return dict(loop)
    return None


def ratios(result: Row, table: str, candidates: int, connections: int) -> dict[str, float]:
    """By rival: our requests per second divided by the rival's."""
    ours = cell(result, OURS, "A", candidates, connections)
    names = dict.fromkeys(server["name"] for server in result["servers"] if server["table"] == table)
    cells = {name: cell(result, name, table, candidates, connections) for name in names if name != OURS}
    return {
        name: ours["per_s"] / theirs["per_s"] for name, theirs in cells.items() if ours and theirs and theirs["per_s"]
    }


def fit(points: Iterable[tuple[float, float]]) -> dict[str, float] | None:
    """A straight line through (candidates, ms): ms per 100 candidates, ms at none, R². None below three points.

    >>> fit([(100, 2.0), (200, 3.0), (300, 4.0)])
    {'ms_per_100': 1.0, 'ms_at_0': 1.0, 'r2': 1.0}
    """
    pairs = sorted(points)
    if len(pairs) < 3:
        return None
    x, y = np.array(pairs, np.float64).T
    slope, start = np.polyfit(x, y, 1)
    residual, spread = ((y - slope * x - start) ** 2).sum(), ((y - y.mean()) ** 2).sum()
    values = (slope * 100, start, 1 - residual / spread if spread else 1.0)
    return {name: round(float(v), 9) for name, v in zip(("ms_per_100", "ms_at_0", "r2"), values, strict=True)}


def limit_fit(result: Row) -> dict[str, float] | None:
    """The mean time in process against candidates."""
    return fit((int(count), figures["mean_ms"]) for count, figures in result.get("limit", {}).get("fast", {}).items())


def connection_fit(result: Row) -> dict[str, float] | None:
    """Our p50 at one connection against candidates."""
    cells = [loop for server in result["servers"] if server["name"] == OURS for loop in server.get("closed", ())]
    return fit((loop["candidates"], loop["p50_ms"]) for loop in cells if loop["connections"] == 1 and loop["p50_ms"])


def best_run(runs: Sequence[Row]) -> Row | None:
    """The run with the lowest p99; its p50 and p99 are of the same run."""
    complete = [run for run in runs if run["p99_ms"] is not None]
    return min(complete, key=lambda run: run["p99_ms"]) if complete else None


def added_ms(result: Row, candidates: int) -> float | None:
    """What HTTP, validation, order and answer add to the work in process, by p50 at one connection."""
    ours = cell(result, OURS, "A", candidates, 1)
    limit = _limit_figures(result, candidates)
    return ours["p50_ms"] - limit["p50_ms"] if ours and limit and ours["p50_ms"] is not None else None


def share_of_limit(result: Row, candidates: int) -> float | None:
    """Our peak over all numbers of connections, as a share of what one core does in process."""
    limit = _limit_figures(result, candidates)
    cells = [loop for server in result["servers"] if server["name"] == OURS for loop in server.get("closed", ())]
    peak = max((loop["per_s"] for loop in cells if loop["candidates"] == candidates), default=None)
    return peak / limit["per_s"] if peak is not None and limit else None


def workers(by_workers: Row) -> dict[str, float]:
    """Ratio of processor time per request of two workers to one; memory that a third worker adds."""
    result: dict[str, float] = {}
    if {"1", "2"} <= set(by_workers) and by_workers["1"]["cpu_ms_per_request"]:
        result["cpu_ratio"] = by_workers["2"]["cpu_ms_per_request"] / by_workers["1"]["cpu_ms_per_request"]
    if {"2", "3"} <= set(by_workers):
        for kind in ("pss_mb", "uss_mb"):
            result[f"extra_{kind}"] = by_workers["3"][kind] - by_workers["2"][kind]
    return result


def catalogues(result: Row, candidates: int) -> list[dict[str, float]]:
    """Number of entities and mean time in process by catalogue; the model of the run comes first."""
    own = _limit_figures(result, candidates)
    first = [{"entities": result["about"]["model"]["entities"], "mean_ms": own["mean_ms"]}] if own else []
    others = [
        {"entities": figures["entities"], "mean_ms": figures["limit"]["fast"][str(figures["candidates"])]["mean_ms"]}
        for figures in result.get("catalogues", ())
    ]
    return first + others


def aims(result: Row, candidates: int, connections: int) -> list[dict[str, Any]]:
    """Each aim with its measured value, and whether it was reached."""
    times = ratios(result, "A", candidates, connections)
    frameworks = [times[name] for name in FRAMEWORKS if name in times]
    worker_figures = workers(result.get("workers", {}))
    at = f"at {candidates} candidates"
    return [
        _aim(f"requests/s against plain FastAPI, {at}", ">=", 3, times.get(FASTAPI)),
        _aim(f"requests/s against the best of the frameworks, {at}", ">=", 6, min(frameworks, default=None)),
        _aim(f"ms added to the work in process, {at}, one connection", "<=", 1, added_ms(result, candidates)),
        *(aim for count, limits in LATENCY_AIMS.items() for aim in _latency_aims(result, count, limits)),
        _aim("processor time per request, two workers to one", "<=", 1.1, worker_figures.get("cpu_ratio")),
        _aim("MB of one more worker (PSS)", "<=", 250, worker_figures.get("extra_pss_mb")),
    ]


def _latency_aims(result: Row, count: str, limits: tuple[float, float]) -> list[dict[str, Any]]:
    best = best_run(result.get("latency", {}).get(count, ())) or {}
    at = f"at {int(count):,} candidates, one connection"
    return [
        _aim(f"ms {name} {at}", "<=", limit, best.get(f"{name}_ms"))
        for name, limit in zip(("p50", "p99"), limits, strict=True)
    ]


def _aim(what: str, sign: str, limit: float, value: float | None) -> dict[str, Any]:
    reached = None if value is None else (value >= limit if sign == ">=" else value <= limit)
    return {"what": what, "sign": sign, "limit": limit, "value": value, "reached": reached}


def _limit_figures(result: Row, candidates: int) -> Row | None:
    figures: Row | None = result.get("limit", {}).get("fast", {}).get(str(candidates))
    return figures
