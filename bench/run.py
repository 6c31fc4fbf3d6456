"""Runs the benchmark: makes requests, measures each part of the plan, and writes the report after each part."""

from __future__ import annotations

import gc
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench import process
from bench.measure import Bench, Figures
from bench.page import page
from bench.plan import Plan
from bench.request_set import RequestSet, make_requests
from bench.summary import summary
from model.artefact.model import Artefact

Report = Callable[[int, int, str], None]
_RELEASES = ("torch", "numpy", "uvicorn", "uvloop", "msgspec", "pydantic", "fastapi")


def run(model: Path, plan: Plan, out: Path, report: Report) -> Figures:
    """Measure, write `bench.json` and `bench.html` into `out`, and return the content of `bench.json`."""
    out.mkdir(parents=True, exist_ok=True)
    with process.on_cores({plan.load_core}):  # the core of the load generator
        result, asks = prepare(model, plan)
        clock = _Progress(plan.total_s(), report)
        bench = Bench(model, plan, asks, clock.say)
        gc.collect()
        gc.disable()  # a collection in the load generator would count as latency of the server
        try:
            for part, make in _PARTS.items():
                if part in plan.parts:
                    make(bench, result)
                    write(result, out)
        finally:
            gc.enable()
        clock.end()
    return result


def prepare(model: Path, plan: Plan) -> tuple[Figures, dict[int, RequestSet]]:
    """A result with metadata but without figures, and the requests."""
    artefact = Artefact.load(model)
    asks = {count: make_requests(artefact, count, plan.bodies, plan.seed) for count in plan.needed_candidates()}
    about = {
        "model": {"version": artefact.version, "entities": artefact.entity_count, "tasks": list(artefact.tasks)},
        "machine": _machine(),
        "plan": {**json.loads(json.dumps(asdict(plan), default=str)), "headline": plan.headline},
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    return {"about": about, "servers": []}, asks


def write(result: Figures, out: Path) -> None:
    """Write the report so far."""
    result["summary"] = summary(result)
    (out / "bench.json").write_text(json.dumps(result, indent=1), "utf-8")
    (out / "bench.html").write_text(page(result), "utf-8")


def _limit(bench: Bench, result: Figures) -> None:
    result["limit"] = bench.limit()
    result["catalogues"] = [_catalogue(bench, folder) for folder in bench.plan.catalogues]


def _catalogue(bench: Bench, folder: Path) -> Figures:
    """The limit with a catalogue of another size, at one number of candidates."""
    artefact, count = Artefact.load(folder), bench.plan.headline
    asks = {count: make_requests(artefact, count, bench.plan.bodies, bench.plan.seed)}
    return {"entities": artefact.entity_count, "candidates": count, "limit": bench.limit(folder, asks)}


def _servers(bench: Bench, result: Figures) -> None:
    for name, fast in bench.plan.rounds():
        result["servers"].append(bench.measured(name, fast))


def _latency(bench: Bench, result: Figures) -> None:
    result["latency"] = bench.latency()


def _workers(bench: Bench, result: Figures) -> None:
    result["workers"] = bench.workers()


_PARTS: dict[str, Callable[[Bench, Figures], None]] = {
    "limit": _limit,
    "servers": _servers,
    "latency": _latency,
    "workers": _workers,
}


class _Progress:
    """Reports progress as elapsed seconds of the estimated total."""

    def __init__(self, total_s: float, report: Report) -> None:
        self._total, self._report, self._started = max(1, round(total_s)), report, time.monotonic()

    def say(self, note: str) -> None:
        passed = round(time.monotonic() - self._started)
        self._report(min(passed, self._total), self._total, note)

    def end(self) -> None:
        self._report(self._total, self._total, "done")


def _machine() -> dict[str, Any]:
    """The properties of this machine that figures depend on."""
    threads = {name: value for name, value in os.environ.items() if name.startswith(("OMP_", "MKL_", "OPENBLAS_"))}
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "releases": {name: version(name) for name in _RELEASES},
        "load_average": os.getloadavg()[0],
        "environment": threads,
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
