"""Running it: start, readiness, metrics, OpenAPI, settings, headers, a real server process that ends well."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import msgspec
import pytest
from app_fakes import FakeModel, app_of, client_of, settings
from prometheus_client.parser import text_string_to_metric_families

from app.api.v1 import schemas
from app.errors import ModelNotFoundError, UnirankError
from app.http.decoding import decode
from app.main import create_app
from app.models.loading import find_model
from app.settings import Settings, settings_table

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[3]


@pytest.fixture
def folder(tmp_path):
    """What passes for a model folder where loading it is faked."""
    (tmp_path / "manifest.json").write_text("{}")
    return tmp_path


async def until_ready(client: httpx.AsyncClient) -> httpx.Response:
    for _ in range(200):
        response = await client.get("/readyz")
        if response.status_code == 200:
            break
        await asyncio.sleep(0.01)
    return response


async def test_the_service_lives_at_once_and_is_ready_when_the_model_is(folder):
    def load(_: Path) -> FakeModel:
        time.sleep(0.2)
        return FakeModel()

    async with client_of(create_app(settings(model_path=folder), load=load)) as client:
        assert (await client.get("/livez")).status_code == 200
        waiting = await client.get("/readyz")
        assert waiting.status_code == 503
        assert waiting.json()["detail"] == "loading model"
        assert waiting.headers["retry-after"] == "1"
        refused = await client.post("/v1/rank", json={"context": {"task": "search"}})
        assert refused.status_code == 503
        assert (await client.get("/")).status_code == 200
        ready = await until_ready(client)
        assert ready.json() == {"status": "ready", "model": {"version": "v-fake", "checksum": "c0ffee"}}
        assert (await client.post("/v1/rank", json={"context": {"task": "search"}})).status_code == 200


async def test_each_task_is_ranked_once_before_the_service_is_ready(folder):
    model = FakeModel()
    async with client_of(create_app(settings(model_path=folder), load=lambda _: model)) as client:
        await until_ready(client)
        assert model.scored == 60 + 60 + 59


async def test_a_model_that_cannot_be_loaded_leaves_its_reason(folder):
    def load(_: Path) -> FakeModel:
        raise ValueError("weights.safetensors is cut off")

    async with client_of(create_app(settings(model_path=folder), load=load)) as client:
        await asyncio.sleep(0.05)
        response = await client.get("/readyz")
        assert response.status_code == 503
        assert "weights.safetensors is cut off" in response.json()["detail"]
        assert (await client.get("/livez")).status_code == 200


async def test_leaving_while_the_model_loads_is_quick(folder):
    began = time.monotonic()
    async with client_of(create_app(settings(model_path=folder), load=lambda _: time.sleep(0.3) or FakeModel())):
        await asyncio.sleep(0.01)
    assert time.monotonic() - began < 1


def test_a_model_is_a_folder_or_the_live_one_of_several(tmp_path):
    with pytest.raises(ModelNotFoundError, match="UNIRANK_MODEL_PATH"):
        find_model(None)
    with pytest.raises(ModelNotFoundError, match="is not a folder"):
        find_model(tmp_path / "nope")
    with pytest.raises(ModelNotFoundError, match=r"manifest\.json"):
        find_model(tmp_path)
    (tmp_path / "v2").mkdir()
    (tmp_path / "v2" / "manifest.json").write_text("{}")
    assert find_model(tmp_path / "v2") == tmp_path / "v2"
    (tmp_path / "LIVE").write_text("v2\n")
    assert find_model(tmp_path) == tmp_path / "v2"


async def metrics_of(client: httpx.AsyncClient) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    text = (await client.get("/metrics")).text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_metrics_count_every_request_success_or_not():
    model = FakeModel()
    async with client_of(app_of(model)) as client:
        await client.post("/v1/search", json={"query": "toy", "user_id": "u1"})
        await client.post("/v1/more-like-this/nope")
        await client.post("/v1/rank", content=b"{")
        await client.get("/nowhere/else")
        model.crash = RuntimeError("boom")
        await client.post("/v1/rank", json={"context": {"task": "homepage"}})
        found = await metrics_of(client)

    def value(name: str, **labels: str) -> float | None:
        return found.get((name, frozenset(labels.items())))

    assert value("unirank_requests_total", route="/v1/search", status="200") == 1
    assert value("unirank_requests_total", route="/v1/more-like-this/{entity_id}", status="404") == 1
    assert value("unirank_requests_total", route="/v1/rank", status="400") == 1
    assert value("unirank_requests_total", route="/v1/rank", status="500") == 1
    assert value("unirank_requests_total", route="unmatched", status="404") == 1
    assert value("unirank_errors_total", code="malformed_body") == 1
    assert value("unirank_errors_total", code="internal") == 1
    assert value("unirank_request_seconds_count", route="/v1/rank") == 2
    for stage in ("parse", "records", "score", "rerank", "total"):
        assert value("unirank_ranking_seconds_count", task="search", stage=stage) == 1
        assert value("unirank_ranking_seconds_count", task="homepage", stage=stage) == 1
    assert value("unirank_records_total", tier="memory") == 60 + 3 + 60  # candidates, the history beside them, again
    assert value("unirank_imputed_total", task="search", field="country", rule="null_country") == 1
    assert value("unirank_model_info", version="v-fake", checksum="c0ffee") == 1
    assert value("unirank_rankings_under_way") == 0


async def test_two_applications_do_not_share_metrics():
    async with client_of(app_of()) as first, client_of(app_of()) as second:
        await first.get("/livez")
        labels = frozenset({"route": "/livez", "status": "200"}.items())
        assert ("unirank_requests_total", labels) not in await metrics_of(second)


async def test_openapi_holds_the_types_that_decode():
    async with client_of(app_of(max_candidates=123)) as client:
        document = (await client.get("/openapi.json")).json()
    made = document["components"]["schemas"]
    for kind in (schemas.RankBody, schemas.SearchBody, schemas.MoreLikeThisBody, schemas.HomepageBody):
        assert set(made[kind.__name__]["properties"]) == set(kind.__struct_encode_fields__)
        assert made[kind.__name__]["additionalProperties"] is False
    assert made["ContextBody"]["properties"]["query"]["anyOf"][0]["maxLength"] == 2000
    assert made["RankBody"]["properties"]["candidates"]["anyOf"][0]["maxItems"] == 123
    assert "x-limit" not in json.dumps(document)
    for path, method in [
        ("/v1/rank", "post"),
        ("/v1/homepage", "post"),
        ("/v1/more-like-this/{entity_id}", "post"),
    ]:
        operation = document["paths"][path][method]
        assert operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].split("/")[-1] in made
        assert {"200", "400", "413", "422", "503"} <= set(operation["responses"])


async def test_every_reference_of_openapi_resolves():
    async with client_of(app_of()) as client:
        text = (await client.get("/openapi.json")).text
        assert (await client.get("/docs")).status_code == 200
    names = set(json.loads(text)["components"]["schemas"])
    references = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert references
    assert references <= names


def _example(schema: dict, made: dict) -> object:
    """The smallest value that a schema of ours allows."""
    if "$ref" in schema:
        return _example(made[schema["$ref"].split("/")[-1]], made)
    if "anyOf" in schema:
        return _example(schema["anyOf"][0], made)
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("type") == "object":
        return {name: _example(part, made) for name, part in schema.get("properties", {}).items()}
    if schema.get("type") == "array":
        return [_example(schema.get("items", {}), made)] * schema.get("minItems", 0)
    plain = {"string": "x", "boolean": False, "number": schema.get("minimum", 0), "integer": 0}
    return plain.get(schema.get("type", "null"))


@pytest.mark.parametrize("kind", [schemas.RankBody, schemas.SearchBody, schemas.HomepageBody])
def test_what_openapi_allows_the_decoder_takes_and_a_further_key_it_refuses(kind):
    from app.api.openapi import components

    made = components(settings())
    example = _example(made[kind.__name__], made)
    assert isinstance(example, dict)
    assert isinstance(decode(json.dumps(example).encode(), kind, 32), kind)
    with pytest.raises(UnirankError):
        decode(json.dumps({**example, "surprise": 1}).encode(), kind, 32)
    for name in made[kind.__name__].get("required", []):
        with pytest.raises(UnirankError):
            decode(json.dumps({**example, name: ["wrong"]}).encode(), kind, 32)


async def test_answers_match_their_types():
    async with client_of(app_of()) as client:
        answer = await client.post("/v1/search", json={"query": "toy", "return": ["year"]})
        msgspec.json.decode(answer.content, type=schemas.RankAnswer)
        answer = await client.post("/v1/homepage", json={"user_id": "u1"})
        msgspec.json.decode(answer.content, type=schemas.HomepageAnswer)


async def test_limits_are_those_of_the_settings():
    async with client_of(app_of(max_candidates=7)) as client:
        assert (await client.get("/v1/limits")).json()["max_candidates"] == 7
        body = {"context": {"task": "search"}, "candidates": ["f1"] * 8}
        assert (await client.post("/v1/rank", json=body)).status_code == 422


async def test_server_timing_names_the_stages():
    async with client_of(app_of()) as client:
        header = (await client.get("/v1/search?q=toy")).headers["server-timing"]
    assert [part.split(";")[0].strip() for part in header.split(",")] == [
        "parse",
        "records",
        "score",
        "rerank",
        "total",
    ]


async def test_cors_is_off_by_default_and_covers_problems_when_on():
    origin = {"origin": "https://shop.example"}
    async with client_of(app_of()) as client:
        assert "access-control-allow-origin" not in (await client.get("/livez", headers=origin)).headers
    async with client_of(app_of(cors_origins="https://shop.example, https://b.example")) as client:
        response = await client.get("/nope", headers=origin)
        assert response.headers["access-control-allow-origin"] == "https://shop.example"
        foreign = await client.get("/livez", headers={"origin": "https://evil.example"})
        assert "access-control-allow-origin" not in foreign.headers


async def test_the_page_is_one_file_with_users_and_nothing_from_outside():
    model = FakeModel()
    model.sample_users = lambda count: ["u1", "</script><script>alert(1)"]
    async with client_of(app_of(model)) as client:
        response = await client.get("/")
    assert response.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert '["u1", "\\u003c/script>\\u003cscript>alert(1)"]' in response.text
    assert "http://" not in response.text
    assert "https://" not in response.text
    assert "/v1/search?" in response.text


def test_settings_come_from_the_environment_once(monkeypatch):
    monkeypatch.setenv("UNIRANK_MAX_CANDIDATES", "9")
    read = Settings()
    assert read.max_candidates == 9
    with pytest.raises(ValueError, match="frozen"):
        read.max_candidates = 10


def test_settings_travel_to_workers(monkeypatch):
    for name, value in settings(max_rows=3, model_path="/m", cors_origins="a,b").environment().items():
        monkeypatch.setenv(name, value)
    assert Settings() == settings(max_rows=3, model_path="/m", cors_origins="a,b")


def test_the_table_of_settings_has_a_line_each():
    table = settings_table()
    for name, info in Settings.model_fields.items():
        assert f"| `UNIRANK_{name.upper()}` |" in table
        assert info.description


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


def test_a_real_process_lives_gets_ready_drains_and_exits_zero(tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = SERVE.format(root=str(ROOT), tests=str(ROOT / "tests" / "helpers"), port=port, model=str(tmp_path))
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            _until(lambda: process.poll() is not None or _status(client, "/livez") == 200)
            assert process.poll() is None, process.stderr.read().decode()
            assert _status(client, "/readyz") == 503
            _until(lambda: _status(client, "/readyz") == 200)
        assert _rank_while_terminated(process, port) == 200
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.stderr.close()
        process.wait()


def _until(reached) -> None:
    deadline = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def _status(client: httpx.Client, path: str) -> int:
    try:
        return client.get(path).status_code
    except httpx.TransportError:
        return 0


def _rank_while_terminated(process: subprocess.Popen, port: int) -> int:
    body = b'{"context":{"task":"search"},"candidates":["f1"]}'
    with socket.create_connection(("127.0.0.1", port)) as connection:
        head = f"POST /v1/rank HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        return int(connection.recv(65_536).split(b" ", 2)[1])
