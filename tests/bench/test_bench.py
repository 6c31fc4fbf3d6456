"""The benchmark of serving sends equal requests to every server, compares answers, and runs with real servers."""

from __future__ import annotations

import json
import os
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.commands import bench as command
from app.commands.bench import serve
from bench import process
from bench.equal import DifferentAnswerError, check_items
from bench.limit import limits
from bench.measure import Bench
from bench.micro.stages import STAGES, stages
from bench.plain import PlainRanking, fast_logits, plain_logits
from bench.plan import Plan
from bench.request_set import Body, RequestSet, context_of, make_requests
from bench.run import run
from bench.servers import NotStartedError, Running, Server, running
from model.artefact.model import Artefact
from model.context.context import TASKS

ROOT = Path(__file__).parents[2]
NOWHERE = Path("nowhere") / "python"
CORES = sorted(os.sched_getaffinity(0))


@pytest.fixture(scope="module")
def asks(artefact: Artefact) -> RequestSet:
    """Bodies of 30 candidates."""
    return make_requests(artefact, 30, 30, seed=3)


def items(asks: RequestSet, number: int = 0) -> list[Body]:
    """The right answer to a body."""
    expected = asks.expected[number]
    return [{"id": entity_id, "score": expected.scores[entity_id]} for entity_id in expected.ids]


# ---- requests -----------------------------------------------------------------------------------------------


def test_bodies_differ_and_follow_from_the_seed(artefact: Artefact, asks: RequestSet) -> None:
    assert len(set(asks.bodies)) == 30
    assert make_requests(artefact, 30, 30, seed=3).bodies == asks.bodies
    assert make_requests(artefact, 30, 30, seed=4).bodies != asks.bodies


def test_bodies_ask_every_task_for_distinct_known_candidates(artefact: Artefact, asks: RequestSet) -> None:
    bodies = [json.loads(body) for body in asks.bodies]
    assert {body["context"]["task"] for body in bodies} == set(TASKS)
    assert all(len(set(body["candidates"])) == 30 for body in bodies)
    assert all(artefact.entity(entity_id) for body in bodies for entity_id in body["candidates"])


def test_more_candidates_than_entities_are_refused(artefact: Artefact) -> None:
    with pytest.raises(ValueError, match="expected at least 500 entities to draw from, the model has 120"):
        make_requests(artefact, 500, 1, seed=0)


def test_the_plain_forward_pass_and_our_scorer_agree(artefact: Artefact, asks: RequestSet) -> None:
    plain, fast = PlainRanking(artefact, plain_logits), PlainRanking(artefact, fast_logits)
    for body in map(json.loads, asks.bodies):
        filled = plain.fill(context_of(body))
        np.testing.assert_allclose(
            plain.logits(filled, body["candidates"]), fast.logits(filled, body["candidates"]), atol=1e-4
        )


def test_a_plain_ranking_is_sorted(artefact: Artefact, asks: RequestSet) -> None:
    body = json.loads(asks.bodies[0])
    ranked = PlainRanking(artefact).rank(context_of(body), body["candidates"])
    assert [entity_id for entity_id, _ in ranked] == list(asks.expected[0].ids)
    assert [score for _, score in ranked] == sorted((score for _, score in ranked), reverse=True)


# ---- equal answers ------------------------------------------------------------------------------------------


def test_the_right_answer_passes(asks: RequestSet) -> None:
    for number in range(len(asks.expected)):
        check_items(items(asks, number), asks.expected[number])


def test_another_score_is_refused(asks: RequestSet) -> None:
    told = items(asks)
    told[4]["score"] += 2e-4
    with pytest.raises(DifferentAnswerError, match="expected a score of"):
        check_items(told, asks.expected[0])


def test_another_order_is_refused(asks: RequestSet) -> None:
    told = items(asks)
    with pytest.raises(DifferentAnswerError, match="which has the higher logit"):
        check_items([*told[1:], told[0]], asks.expected[0])


def test_only_items_of_equal_score_may_change_places(asks: RequestSet) -> None:
    told = items(asks)
    first, second = told[0]["id"], told[1]["id"]
    scores, logits = asks.expected[0].scores, asks.expected[0].logits
    equal = {**logits, second: logits[first] - 5e-5}
    same = replace(asks.expected[0], logits=equal, scores={**scores, second: scores[first]})
    told[1]["score"] = told[0]["score"]
    check_items([told[1], told[0], *told[2:]], same)


@pytest.mark.parametrize("change", ["one less", "one twice", "no score"])
def test_other_items_are_refused(asks: RequestSet, change: str) -> None:
    told = items(asks)
    changed = {
        "one less": told[:-1],
        "one twice": [*told[:-1], told[0]],
        "no score": [{**told[0], "score": None}, *told[1:]],
    }
    with pytest.raises(DifferentAnswerError):
        check_items(changed[change], asks.expected[0])


# ---- in process ---------------------------------------------------------------------------------------------


def test_the_limit_times_both_ways(artefact: Artefact, asks: RequestSet) -> None:
    found = limits(artefact, {30: [json.loads(body) for body in asks.bodies]}, 0.01)
    assert set(found) == {"fast", "plain"}
    assert found["fast"]["30"]["runs"] >= 1
    assert 0 < found["fast"]["30"]["p50_ms"] <= found["fast"]["30"]["p99_ms"]


def test_every_stage_runs(artefact: Artefact) -> None:
    made = stages(artefact, candidates=40)
    assert tuple(made) == tuple(sorted(made, key=STAGES.index))
    assert set(made) == set(STAGES)
    answered = json.loads(made["encode"]())
    assert len(answered["items"]) == 40
    for stage in made.values():
        assert stage() is not None


def test_a_process_is_seen_from_outside() -> None:
    own = os.getpid()
    assert own in process.tree(own)
    assert process.cpu_seconds([own]) > 0
    memory = process.memory_mb(own)
    assert 0 < memory["uss_mb"] <= memory["pss_mb"]
    with process.on_cores({CORES[0]}):
        assert os.sched_getaffinity(0) == {CORES[0]}
    assert os.sched_getaffinity(0) == set(CORES)
    assert process.seen([own]) == process.seen([own, 2**22 + 1])


# ---- plan and command ---------------------------------------------------------------------------------------


def plan(**changes: object) -> Plan:
    """A plan on the cores that there are."""
    return Plan(NOWHERE, server_core=CORES[-1], load_core=CORES[0], **changes)  # type: ignore[arg-type]


def test_a_plan_states_its_duration_candidates_and_rounds() -> None:
    assert plan(seconds=6.0).total_s() > plan(seconds=3.0).total_s() > plan(parts=("limit",)).total_s()
    assert plan().needed_candidates() == (100, 300, 500, 1000)
    assert plan(candidates=(25,), parts=("servers",)).needed_candidates() == (25,)
    assert [name for name, _ in plan(servers=("unirank", "ray")).rounds()] == ["unirank", "ray", "ray"]
    assert plan(servers=("unirank", "ray"), tables=("A",)).rounds() == [("unirank", False), ("ray", False)]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"servers": ("unirank", "tomcat")}, "servers: no tomcat; there are unirank, fastapi"),
        ({"servers": ("ray",)}, "expected 'unirank' among them"),
        ({"parts": ("lunch",)}, "parts: no lunch"),
        ({"open_candidates": (7,)}, "open candidates: no 7; there are 100, 300, 500"),
    ],
)
def test_a_plan_refuses_what_it_does_not_know(changes: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        plan(**changes)


def test_the_command_says_where_the_benchmark_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(command, "ROOT", tmp_path)
    with pytest.raises(ValueError, match="not part of the installed package: run it from a source checkout"):
        serve(tmp_path)


def test_the_other_servers_use_the_releases_of_the_service() -> None:
    """BentoML asks for an older opentelemetry-api than the service has by way of redis-py; nothing else differs."""
    own, theirs = (_pins(ROOT / name) for name in ("constraints.txt", "bench/rivals.txt"))
    assert {name for name in own.keys() & theirs.keys() if own[name] != theirs[name]} == {"opentelemetry-api"}
    assert {"torch", "numpy", "fastapi", "pydantic", "uvicorn"} <= own.keys() & theirs.keys()
    assert {"litserve", "bentoml", "ray"} <= theirs.keys()


def _pins(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text("utf-8").splitlines() if not line.startswith("#")]
    return {name.lower().replace("_", "-"): release for name, _, release in (line.partition("==") for line in lines)}


# ---- a run --------------------------------------------------------------------------------------------------


def test_a_rival_that_is_not_installed_has_no_version(model_path: Path) -> None:
    assert Server("ray", model_path, NOWHERE).version() is None
    assert Server("fastapi", model_path, NOWHERE).version()


def test_a_short_run_with_real_servers(model_path: Path, tmp_path: Path) -> None:
    said: list[str] = []
    before = process.tree(os.getpid())
    short = plan(
        servers=("unirank", "fastapi", "litserve"), parts=("servers",), tables=("A",), candidates=(40,),
        connections=(2,), shares=(0.5,), seconds=0.3, bodies=12,
    )  # fmt: skip
    result = run(model_path, short, tmp_path, lambda step, total, note: said.append(note))
    ours, fastapi, litserve = result["servers"]
    assert litserve["status"] == "not installed"
    for server in (ours, fastapi):
        assert server["status"] == "measured"
        assert server["checked"] == 12
        assert server["closed"][0]["statuses"] == {"200": server["closed"][0]["statuses"]["200"]}
        assert server["open"][0]["statuses"].keys() == {"200"}
        assert server["closed"][0]["per_s"] > 20
    assert result["summary"]["ratios"]["A"].keys() == {"fastapi"}
    assert json.loads((tmp_path / "bench.json").read_text()) == json.loads(json.dumps(result))
    assert "not installed" in (tmp_path / "bench.html").read_text()
    assert said[-1] == "done"
    assert process.tree(os.getpid()) == before


def test_a_server_that_answers_otherwise_is_not_timed(
    monkeypatch: pytest.MonkeyPatch, asks: RequestSet, model_path: Path
) -> None:
    def otherwise(*_: object) -> int:
        raise DifferentAnswerError("f1: expected a score of 0.1, got 0.2")

    monkeypatch.setattr("bench.measure.running", lambda *_: nullcontext(Running("http://127.0.0.1:1", os.getpid())))
    monkeypatch.setattr("bench.measure.check_answers", otherwise)
    bench = Bench(model_path, plan(candidates=(30,)), {30: asks}, lambda note: None)
    told = bench.measured("fastapi", fast=False)
    assert told["status"] == "refused, it answers otherwise: f1: expected a score of 0.1, got 0.2"
    assert "closed" not in told


def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    nothing = Server("fastapi", tmp_path / "no-model", NOWHERE)
    with pytest.raises(NotStartedError, match=r"exit code 1; its last words: .*no-model"), running(nothing, b"", CORES):
        pass
