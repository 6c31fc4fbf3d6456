"""The report of a benchmark has the right ratios, fits, targets, tables and page. Measures nothing."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest

from app.commands.bench import show
from bench.page import page
from bench.plot import METARANK_LABEL
from bench.summary import best_run, fit, summary
from bench.tables import short_tables, tables

Result = dict[str, Any]


def loop(per_s: float, p50_ms: float, **more: Any) -> Result:
    """A closed or open loop as the load generator tells it."""
    told = {"per_s": per_s, "p50_ms": p50_ms, "p90_ms": p50_ms, "p99_ms": 2 * p50_ms, "mean_ms": p50_ms}
    return {**told, "statuses": {"200": 90, "503": 4}, "unanswered": 1, "load_cpu_share": 0.1, **more}


def server(name: str, table: str, per_s: float, p50_ms: float) -> Result:
    """A server with 500 candidates at 1 and 8 connections, and three sizes at one."""
    sizes = [loop(per_s, p50_ms * count / 500, candidates=count, connections=1) for count in (100, 300, 500)]
    closed = [*sizes, loop(per_s, 8 * p50_ms, candidates=500, connections=8)]
    opened = [loop(per_s * 0.8, p50_ms, candidates=500, share=0.8, rate_per_s=per_s * 0.8)]
    about = {"name": name, "title": name.upper(), "table": table, "version": "1.0", "status": "measured", "checked": 72}
    return {**about, "closed": closed, "open": opened}


@pytest.fixture
def result() -> Result:
    """Ours: 300 requests/s and 3 ms; FastAPI 100, BentoML 50, Ray Serve 60; LitServe is not there."""
    absent = {"name": "litserve", "title": "LitServe", "table": "A", "version": None, "status": "not installed"}
    rivals = [server("fastapi", "A", 100, 10), absent, server("bentoml", "A", 50, 20), server("ray", "A", 60, 16)]
    limit = {str(count): {**loop(400, count / 200), "runs": 9} for count in (100, 300, 500)}
    worker = {"cpu_ms_per_request": 2.0, "pss_mb": 300.0, "uss_mb": 200.0, **loop(300, 3)}
    made = {
        "about": {
            "model": {"version": "v<1>", "entities": 1000},
            "machine": {"processor": "one & only", "cores": 2, "python": "3.11", "releases": {"torch": "2"}},
            "plan": {"headline": 500, "connections": [1, 8], "server_core": 1, "load_core": 0, "seconds": 3.0,
                     "bodies": 300, "seed": 0},
            "started": "then",
        },
        "servers": [server("unirank", "A", 300, 3), *rivals, server("fastapi", "B", 200, 5)],
        "limit": {"fast": limit, "plain": limit},
        "latency": {"100": [loop(1, 1.5), loop(1, 1.0)], "300": [loop(1, 4.0)], "1000": []},
        "workers": {"1": worker, "2": {**worker, "cpu_ms_per_request": 2.1}, "3": {**worker, "pss_mb": 500.0}},
        "catalogues": [{"entities": 10**6, "candidates": 500, "limit": {"fast": {"500": loop(390, 2.6)}}}],
    }  # fmt: skip
    made["summary"] = summary(made)
    return made


def test_ratios_are_of_requests_a_second(result: Result) -> None:
    told = result["summary"]
    assert (told["candidates"], told["connections"]) == (500, 8)
    assert told["ratios"]["A"] == {"fastapi": 3.0, "bentoml": 6.0, "ray": 5.0}
    assert told["ratios"]["B"] == {"fastapi": 1.5}


def test_what_the_service_adds_and_its_share_of_the_limit(result: Result) -> None:
    assert result["summary"]["added_ms"] == pytest.approx(3 - 2.5)
    assert result["summary"]["share_of_limit"] == pytest.approx(300 / 400)


def test_aims_take_the_best_rival_and_the_best_run(result: Result) -> None:
    aims = {aim["what"]: aim for aim in result["summary"]["aims"]}
    reached = [aim["reached"] for aim in result["summary"]["aims"]]
    assert aims["requests/s against the best of the frameworks, at 500 candidates"]["value"] == 5.0
    assert aims["ms p50 at 100 candidates, one connection"]["value"] == 1.0
    assert aims["processor time per request, two workers to one"]["value"] == pytest.approx(1.05)
    assert aims["MB of one more worker (PSS)"]["value"] == 200.0
    assert reached == [True, False, True, True, True, False, False, None, None, True, True]


def test_nothing_measured_is_no_aim_reached(result: Result) -> None:
    told = summary({"about": result["about"], "servers": []})
    assert {aim["reached"] for aim in told["aims"]} == {None}
    assert told["catalogues"] == []


def test_a_fit_reports_its_r_squared() -> None:
    assert fit([(100, 1), (200, 2)]) is None
    bent = fit([(100, 1.0), (200, 4.0), (300, 9.0)])
    assert bent is not None
    assert bent["r2"] < 0.98
    assert bent["ms_per_100"] == pytest.approx(4)


def test_the_best_run_is_one_run() -> None:
    quick, even = {"p50_ms": 1.0, "p99_ms": 9.0}, {"p50_ms": 2.0, "p99_ms": 3.0}
    assert best_run([quick, even, {"p50_ms": None, "p99_ms": None}]) is even
    assert best_run([]) is None


def test_a_rival_that_is_not_there_is_named(result: Result) -> None:
    times = next(table for table in tables(result) if table.title.startswith("Table A"))
    rows = {row[0]: row for row, _ in times.rows}
    assert rows["LitServe"][2:] == ("–", "not installed")
    assert rows["BENTOML"][2:] == ("50", "6.0 ×")


def test_every_loop_is_on_the_page_and_the_terminal_has_the_short_tables(
    result: Result, capsys: pytest.CaptureFixture[str]
) -> None:
    longer = {table.title for table in tables(result)} - {table.title for table in short_tables(result)}
    assert longer == {"Closed loop, table A", "Closed loop, table B", "Open loop, table A", "Open loop, table B"}
    show(result)
    assert "not installed" in capsys.readouterr().out
    assert all(table.title in page(result) for table in tables(result))


def test_faults_and_the_generator_are_shown(result: Result) -> None:
    loops = next(table for table in tables(result) if table.title == "Closed loop, table A")
    assert loops.rows[0][0][-2:] == ("5", "10%")  # four refused, one never answered


def test_the_page_needs_nothing_beside_it(result: Result) -> None:
    text = page(result)
    assert "<svg" in text
    assert METARANK_LABEL in text
    assert "v&lt;1&gt;" in text
    assert "one &amp; only" in text
    assert not re.search(r"<script|<link|src=|url\(http", text)
    assert text == page(copy.deepcopy(result))


def test_a_page_without_measurements_is_a_page(result: Result) -> None:
    bare: Result = {"about": result["about"], "servers": []}
    bare["summary"] = summary(bare)
    assert "<svg" not in page(bare)
