"""A real server drains and exits with 0, replaces a worker that dies, answers alike on every replica, and keeps ranking
when the disk is full.
"""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis_server import real_redis
from server_process import ROOT, free_port, served, status, wait_for, workers_of

from app.events.export import export
from app.http.auth.keys import new_key, write_keys
from app.http.auth.scopes import Scope

Replica = tuple[subprocess.Popen[bytes], str, Path]  # its process, its URL, its state folder


def test_workers_share_both_ports_and_one_that_dies_is_replaced(model_path: Path, tmp_path: Path) -> None:
    secret, key = new_key("operator", [Scope.ADMIN, Scope.RANK])
    write_keys(tmp_path / "keys.toml", [key])
    admin, log = free_port(), tmp_path / "log"
    settings = {"workers": 2, "admin_port": admin, "api_keys_file": tmp_path / "keys.toml", "state_dir": tmp_path}
    with served(model_path, log, **settings) as (process, url):
        operator = {"x-api-key": secret}
        assert status(f"{url}/metrics", headers=operator) == 404
        assert status(f"http://127.0.0.1:{admin}/metrics") == 401
        assert status(f"http://127.0.0.1:{admin}/metrics", headers=operator) == 200
        first = set(workers_of(process))
        assert len(first) == 2
        wait_for(lambda: log.read_text().count("is live with") == 2)  # one that dies before says nothing
        os.kill(min(first), signal.SIGKILL)
        answers: list[int] = []

        def asked_until_repaired() -> bool:
            answers.extend(status(f"{url}/v1/search?q=a", headers=operator) for _ in range(10))
            return log.read_text().count("is live with") >= 3

        wait_for(asked_until_repaired)
        assert asked_until_repaired()
        assert set(answers) == {200}
        assert len(set(workers_of(process)) - first) == 1
    assert process.returncode == 0
    assert secret not in log.read_text()
    assert not re.search(r"Traceback|q=a", log.read_text()), log.read_text()


@pytest.fixture(scope="module")
def replicas(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Replica]]:
    """Two services of the same model, each with a hash seed of its own: one keeps all records in memory, one none."""
    folder = tmp_path_factory.mktemp("replicas")
    with ExitStack() as stack:
        redis = stack.enter_context(real_redis())
        made = []
        for name, own in (("one", {}), ("other", {"redis_url": redis.connection_url, "memory_entities": 0})):
            state = folder / name
            made.append(
                (*stack.enter_context(served(model_path, folder / f"{name}.log", state_dir=state, **own)), state)
            )
        yield made


def answers_of(url: str) -> list[Any]:
    """What a service says to many questions: ids in order, and scores."""
    with httpx.Client(base_url=url, timeout=30) as client:

        def items(path: str, **body: object) -> list[dict[str, Any]]:
            answer = client.post(path, json=body)
            assert answer.status_code == 200, answer.text
            return list(answer.json()["items"])

        found = items("/v1/search", query="a", limit=120)
        sources = [item["id"] for item in found[:10]]
        names = [client.get(f"/v1/entities/{source}").json()["display_name"] for source in sources]
        return [found] + [
            (
                items("/v1/search", query=name, user_id=f"u{number}"),
                items(f"/v1/more-like-this/{source}", user_id=f"u{number}"),
                items("/v1/rank", context={"task": "homepage", "user_id": f"u{number}"}, limit=50),
            )
            for number, (source, name) in enumerate(zip(sources * 2, names * 2, strict=True))
        ]


def test_every_replica_answers_alike(replicas: list[Replica]) -> None:
    (_, one, _), (_, other, _) = replicas
    first = answers_of(one)
    assert len({json.dumps(answer) for answer in first}) == len(first)
    assert answers_of(other) == first
    assert answers_of(one) == first


def test_a_disk_that_fills_up_costs_events_and_nothing_else(replicas: list[Replica], tmp_path: Path) -> None:
    """The system lets the process write no file beyond 500 KB; what was acknowledged is exported, and no more."""
    process, url, state = replicas[0]
    _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    statuses, acknowledged = [], []
    with httpx.Client(base_url=url, timeout=30) as client:

        def post(number: int) -> httpx.Response:
            query = f"{number} " + "x" * 1900
            event = {
                "type": "engagement",
                "timestamp": 1_700_000_000_000,
                "task": "search",
                "entity_id": "e1",
                "label": 1,
            }
            answer = client.post("/v1/events", json=[event | {"query": query}] * 100)
            statuses.append(answer.status_code)
            if answer.status_code == 202:
                acknowledged.extend([query] * 100)
            return answer

        post(0)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (500_000, hard))
        answers = [post(number) for number in range(1, 5)]
        refused = next(answer for answer in answers if answer.status_code != 202)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert refused.json()["type"] == "urn:unirank:problem:events_unavailable"
        assert client.get("/readyz").status_code == 200
        assert client.post("/v1/search", json={"query": "a"}).status_code == 200
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        assert post(9).status_code == 202
    export(state / "events", tmp_path / "out")
    kept = [json.loads(line)["query"] for line in (tmp_path / "out").read_text().splitlines()]
    assert sorted(kept) == sorted(acknowledged)


SERVE = """
import sys, time
sys.path[:0] = [{root!r}, {tests!r}]
from app_fakes import FakeModel
import app.main, app.http.server
from app.settings import Settings

def load(folder, device, limit_s):
    time.sleep(0.5)
    model = FakeModel()
    model.chunk_s = 0.3
    return model

app.main.load_model = load
app.http.server.serve(Settings(port={port}, model_path={model!r}))
"""


def test_a_process_becomes_live_and_ready_then_drains_and_exits_with_zero(tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    port = free_port()
    code = SERVE.format(root=str(ROOT), tests=str(ROOT / "tests" / "helpers"), port=port, model=str(tmp_path))
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: process.poll() is not None or status(f"{url}/livez") == 200)
        assert process.poll() is None, process.stderr.read().decode()
        assert status(f"{url}/readyz") == 503
        wait_for(lambda: status(f"{url}/readyz") == 200)
        assert _rank_while_terminated(process, port) == 200
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.stderr.close()
        process.wait()


def _rank_while_terminated(process: subprocess.Popen, port: int) -> int:
    body = b'{"context":{"task":"search"},"candidates":["f1"]}'
    with socket.create_connection(("127.0.0.1", port)) as connection:
        head = f"POST /v1/rank HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        return int(connection.recv(65_536).split(b" ", 2)[1])
