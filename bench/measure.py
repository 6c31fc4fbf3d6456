"""The parts of a run: servers, latency, workers, limit. Each returns plain figures for the report; shows nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench import process
from bench.equal import DifferentAnswerError, check_answers
from bench.load import Tally, Target, closed_loop, open_loop
from bench.plan import LATENCY_COUNTS, LATENCY_RUNS, WORKERS, Plan
from bench.request_set import RequestSet
from bench.servers import OURS, ROOT, TITLES, NotStartedError, Running, Server, running

Say = Callable[[str], None]
Figures = dict[str, Any]
WORKER_CONNECTIONS = 8


class Bench:
    """Measures one model by a plan with given requests; `say` is called with progress messages."""

    def __init__(self, model: Path, plan: Plan, asks: Mapping[int, RequestSet], say: Say) -> None:
        self.model, self.plan, self.asks, self.say = model, plan, asks, say
        self._core = {plan.server_core}

    def server(self, name: str, fast: bool = False, workers: int = 1) -> Server:
        """A server with this model."""
        return Server(name, self.model, self.plan.rivals_python, fast, workers)

    # ---- every server ---------------------------------------------------------------------------------------

    def measured(self, name: str, fast: bool) -> Figures:
        """All loops of one server; `status` says why a server was not measured."""
        server = self.server(name, fast)
        about = {"name": name, "title": TITLES[name], "table": "B" if fast else "A", "version": server.version()}
        if about["version"] is None and name != OURS:
            return {**about, "status": "not installed"}
        self.say(f"{TITLES[name]}{' with our scorer' if fast else ''}: starting")
        try:
            with running(server, self._first_body(), self._core) as live:
                return {**about, "status": "measured", **self._loops(server, live)}
        except NotStartedError as error:
            return {**about, "status": f"did not start: {error}"}
        except DifferentAnswerError as error:
            return {**about, "status": f"refused, it answers otherwise: {error}"}

    def _loops(self, server: Server, live: Running) -> Figures:
        checked = check_answers(live.url, server.path, self.asks.values())
        closed = [
            self._closed_loop(server, live, candidates, connections)
            for candidates in self.plan.candidates
            for connections in self.plan.connections
        ]
        return {"checked": checked, "closed": closed, "open": self._open_loops(server, live, closed)}

    def _closed_loop(self, server: Server, live: Running, candidates: int, connections: int) -> Figures:
        self.say(f"{TITLES[server.name]}: {candidates} candidates, {connections} connections")
        tally = self._warm_and_closed(self._target(server, live, candidates), connections)
        return {"candidates": candidates, "connections": connections, **tally.figures()}

    def _open_loops(self, server: Server, live: Running, closed: list[Figures]) -> list[Figures]:
        peaks: dict[int, float] = {}
        for cell in closed:
            peaks[cell["candidates"]] = max(peaks.get(cell["candidates"], 0.0), cell["per_s"])
        return [
            self._open_loop(server, live, candidates, share, peaks[candidates])
            for candidates in self.plan.opened
            for share in self.plan.shares
            if peaks.get(candidates)
        ]

    def _open_loop(self, server: Server, live: Running, candidates: int, share: float, peak: float) -> Figures:
        self.say(f"{TITLES[server.name]}: {candidates} candidates, {share:.0%} of its peak, open loop")
        target, rate = self._target(server, live, candidates), share * peak
        open_loop(target, rate / 2, self.plan.warm_s, self.plan.seed)
        tally = open_loop(target, rate, self.plan.seconds, self.plan.seed)
        return {"candidates": candidates, "share": share, "rate_per_s": rate, **tally.figures()}

    # ---- ours alone -----------------------------------------------------------------------------------------

    def latency(self) -> Figures:
        """Our server at one connection, restarted for each run: a list of runs by number of candidates."""
        runs: Figures = {str(candidates): [] for candidates in LATENCY_COUNTS}
        server = self.server(OURS)
        for run in range(LATENCY_RUNS):
            with running(server, self._first_body(), self._core) as live:
                for candidates in LATENCY_COUNTS:
                    self.say(f"latency, run {run + 1}: {candidates} candidates")
                    tally = self._warm_and_closed(self._target(server, live, candidates), 1)
                    runs[str(candidates)].append(tally.figures())
        return runs

    def workers(self) -> Figures:
        """Processor time and memory of our server by number of workers. Several may use both cores."""
        return {str(workers): self._workers(workers) for workers in WORKERS}

    def _workers(self, workers: int) -> Figures:
        self.say(f"{workers} workers: starting")
        server = self.server(OURS, workers=workers)
        cores = self._core if workers == 1 else {self.plan.server_core, self.plan.load_core}
        with running(server, self._first_body(), cores) as live:
            target = self._target(server, live, self.plan.headline)
            closed_loop(target, WORKER_CONNECTIONS, self.plan.warm_s)
            before = process.cpu_seconds(live.pids())
            tally = closed_loop(target, WORKER_CONNECTIONS, self.plan.seconds)
            spent = process.cpu_seconds(live.pids()) - before
            memory = [process.memory_mb(pid) for pid in live.pids()]
        answers = sum(tally.statuses.values())
        total = {name: sum(usage[name] for usage in memory) for name in ("pss_mb", "uss_mb")}
        per_request = 1000 * spent / max(1, answers)
        return {"answers": answers, "cpu_ms_per_request": per_request, **total, "processes": memory, **tally.figures()}

    def limit(self, model: Path | None = None, asks: Mapping[int, RequestSet] | None = None) -> Figures:
        """Figures of one core in process, for this model or for another one with its own requests."""
        self.say(f"the limit, in process{f': {model}' if model else ''}")
        bodies = {
            count: [json.loads(body) for body in same_size.bodies] for count, same_size in (asks or self.asks).items()
        }
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file, process.on_cores(self._core):
            json.dump(bodies, file)
            file.flush()
            arguments = [str(model or self.model), file.name, str(self.plan.seconds)]
            environment = self.server(OURS).environment(Path(tempfile.gettempdir()))
            process_result = subprocess.run(
                [sys.executable, "-m", "bench.limit", *arguments],
                cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
            )  # fmt: skip
        if process_result.returncode:
            raise ValueError(
                f"the in-process limit: {(process_result.stderr.strip().splitlines() or ['no reason'])[-1]}"
            )
        figures: Figures = json.loads(process_result.stdout)
        return figures

    # ---- shared ---------------------------------------------------------------------------------------------

    def _warm_and_closed(self, target: Target, connections: int) -> Tally:
        closed_loop(target, connections, self.plan.warm_s)
        return closed_loop(target, connections, self.plan.seconds)

    def _target(self, server: Server, live: Running, candidates: int) -> Target:
        return Target(live.url, server.path, self.asks[candidates].bodies)

    def _first_body(self) -> bytes:
        return self.asks[min(self.asks)].bodies[0]
