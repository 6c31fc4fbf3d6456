"""With several workers every scrape sees all of them, no counter falls when a worker is killed, and a new service
starts at zero. One worker keeps its metrics in memory.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from server_process import ROOT, served, status, wait_for, workers_of

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
SEARCHES = ("unirank_requests_total", frozenset({"route": "/v1/search", "status": "200"}.items()))


def scrape(url: str) -> tuple[Samples, set[str]]:
    """All samples by a connection of its own, so that any worker may answer; and the names of those that only rise."""
    families = list(text_string_to_metric_families(httpx.get(f"{url}/metrics", timeout=60).text))
    rising = {
        sample.name
        for family in families
        for sample in family.samples
        if family.type == "counter" or sample.name.endswith(("_bucket", "_count"))
    }
    return {(s.name, frozenset(s.labels.items())): s.value for f in families for s in f.samples}, rising


def search(url: str, times: int) -> None:
    for _ in range(times):
        assert status(f"{url}/v1/search?q=a&limit=3", timeout=60) == 200


def asked(url: str) -> float:
    return scrape(url)[0].get(SEARCHES, 0.0)


def assert_never_falls(url: str, scrapes: int) -> Samples:
    """Each scrape holds at least what the one before held, searches going on in between."""
    before: Samples = {}
    for _ in range(scrapes):
        search(url, 4)
        now, rising = scrape(url)
        fell = [key for key, value in before.items() if key[0] in rising and now.get(key, -1.0) < value]
        assert fell == []
        before = now
    return before


@pytest.fixture
def stale(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder that somebody's environment names for metrics; and one for temporary files."""
    for name in ("stale", "temporary"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "stale"))
    return tmp_path / "stale"


def test_any_worker_reports_the_counts_of_all(model_path: Path, tmp_path: Path, stale: Path) -> None:
    """Also after one was killed with -9, and not what an earlier service counted."""
    log = tmp_path / "log"
    with served(model_path, log, workers=2, state_dir=tmp_path) as (process, url):
        found = assert_never_falls(url, 5)
        wait_for(lambda: asked(url) == 20)
        pids = {dict(labels)["pid"] for name, labels in found if name == "process_cpu_seconds_total"}
        assert pids == {str(pid) for pid in workers_of(process)}
        [info] = [(labels, value) for (name, labels), value in found.items() if name == "unirank_model_info"]
        assert info[1] == 1
        assert found["unirank_rankings_under_way", frozenset()] == 0
        killed = workers_of(process)[0]
        os.kill(killed, signal.SIGKILL)
        wait_for(lambda: log.read_text().count("is live with") == 3)
        assert asked(url) == 20
        found = assert_never_falls(url, 5)
        wait_for(lambda: asked(url) == 40)
        assert {dict(labels)["pid"] for name, labels in found if name == "process_open_fds"}.isdisjoint({str(killed)})
    with served(model_path, log, workers=2, state_dir=tmp_path) as (process, url):
        search(url, 3)
        wait_for(lambda: asked(url) == 3)
    assert [list((tmp_path / name).iterdir()) for name in ("stale", "temporary")] == [[], []]
    assert not re.search("Traceback", log.read_text()), log.read_text()


def test_a_single_worker_keeps_its_metrics_in_memory(model_path: Path, tmp_path: Path, stale: Path) -> None:
    with served(model_path, tmp_path / "log", state_dir=tmp_path) as (_, url):
        search(url, 3)
        found, _ = scrape(url)
    assert found[SEARCHES] == 3
    assert ("process_resident_memory_bytes", frozenset()) in found
    assert list(stale.iterdir()) == []


WORKER = """
import os, sys
from pathlib import Path
from prometheus_client import CollectorRegistry
from app.observability.metrics import Metrics, NullMetrics, Stopwatch
from app.observability.worker_metrics import exposition, forget_dead
seen, unseen = Metrics(CollectorRegistry()), NullMetrics()
for metrics in (seen, unseen, seen, unseen):
    with metrics.observe_ranking("search", Stopwatch(lambda: 1.0)):
        metrics.records.labels("memory").inc(5)
        metrics.count_degraded(["deadline"])
for version in ("films-1", "films-2", "films-1", "films-2"):
    seen.set_model(version, "c")
seen.rankings_under_way.inc()
sys.stdout.write(exposition(seen.registry).decode())
forget_dead(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]), [])
sys.stdout.write("---\\n" + exposition(seen.registry).decode())
"""


def test_gauges_of_dead_workers_and_counts_of_shadow_models_are_left_out(tmp_path: Path) -> None:
    """What a shadow does counts nowhere, only the newest model is live, and one that is dead has no gauges."""
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", WORKER]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    living, _, dead = ended.stdout.partition("---\n")
    counts = [
        'unirank_ranking_seconds_count{stage="total",task="search"} 2.0',
        'unirank_records_total{tier="memory"} 10.0',
        'unirank_degraded_total{code="deadline"} 2.0',
    ]
    gauges = ['unirank_model_info{checksum="c",version="films-2"} 1.0', "unirank_rankings_under_way 1.0"]
    assert [line for line in counts + gauges if line not in living.splitlines()] == []
    assert [line for line in counts if line not in dead.splitlines()] == []
    assert "films-1" not in living
    assert not re.search(r"^(unirank_model_info|unirank_rankings_under_way|process_)", dead, re.M)
