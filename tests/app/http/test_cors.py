"""An origin that may call the service from a browser can read every answer, refusals of raw bytes included."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from app_fakes import FakeModel, app_of, client_of
from raw_connection import port_of

from app.execution.admission import Priority
from app.http.auth.keys import new_key, write_keys
from app.http.auth.scopes import Scope
from app.http.load_shedding import LoadShedder
from app.http.protocol import MOST_HEAD_BYTES

pytestmark = pytest.mark.anyio
SHOP, EVIL = "https://shop.example", "https://evil.example"
ALLOW, EXPOSE = "access-control-allow-origin", "access-control-expose-headers"
BODY = b'{"context": {"task": "search"}}'
LISTS = [SHOP, f"https://other.example,{SHOP}", "*"]


def cors_of(headers: httpx.Headers) -> dict[str, str]:
    return {name: headers[name] for name in (ALLOW, EXPOSE, "vary") if name in headers}


def parsed(answer: bytes) -> httpx.Response:
    """Bytes of HTTP as a response."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    pairs = [(name, value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
    return httpx.Response(int(status.split(b" ")[1]), headers=pairs, content=body)


def raw_ranking(origin: str | None) -> bytes:
    named = f"Origin: {origin}\r\n" if origin else ""
    return f"POST /v1/rank HTTP/1.1\r\nHost: a\r\n{named}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY


# ---- problems -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("origins", LISTS)
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/livez", 200), ("HEAD", "/livez", 200), ("GET", "/v1/limits", 401), ("GET", "/nowhere", 401),
        ("PATCH", "/livez", 405), ("GET", "/v1/models", 403), ("GET", "/v1/entities/none", 404),
        ("POST", "/v1/rank", 400), ("PUT", "/v1/rank", 405), ("POST", "/v1/search", 500), ("HEAD", "/v1/search", 500),
    ],
)  # fmt: skip
async def test_every_problem_can_be_read_by_the_origin(
    tmp_path: Path, origins: str, method: str, path: str, status: int
) -> None:
    secret, key = new_key("shop", [Scope.RANK])
    write_keys(tmp_path / "keys.toml", [key])
    model = FakeModel()
    model.crash = RuntimeError("boom")
    app = app_of(model, cors_origins=origins, api_keys_file=str(tmp_path / "keys.toml"))
    headers = {"origin": SHOP} | ({} if status == 401 else {"x-api-key": secret})
    body = b'{"query": "toy"}' if path == "/v1/search" else b"{"
    async with client_of(app) as client:
        answer = await client.request(method, path, headers=headers, content=body if method == "POST" else None)
        foreign = await client.request(method, path, headers=headers | {"origin": EVIL})
    assert answer.status_code == status
    assert answer.headers[ALLOW] == ("*" if origins == "*" else SHOP)
    assert "Retry-After" in answer.headers[EXPOSE]
    assert (ALLOW in foreign.headers) == (origins == "*")


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE"])
async def test_a_preflight_needs_no_key_and_allows_what_routes_take(tmp_path: Path, method: str) -> None:
    _, key = new_key("shop", [Scope.RANK])
    write_keys(tmp_path / "keys.toml", [key])
    app = app_of(cors_origins=SHOP, api_keys_file=str(tmp_path / "keys.toml"))
    asked = {"origin": SHOP, "access-control-request-method": method, "access-control-request-headers": "authorization"}
    async with client_of(app) as client:
        answer = await client.options("/v1/entities/f1", headers=asked)
        assert answer.status_code == 200
        assert answer.headers[ALLOW] == SHOP
        assert method in answer.headers["access-control-allow-methods"]
        assert answer.headers["access-control-allow-headers"] == "authorization"
        assert (await client.options("/v1/entities/f1", headers={"origin": SHOP})).status_code == 401


@pytest.mark.parametrize(("origin", "method"), [(EVIL, "GET"), (SHOP, "PATCH"), ("null", "GET")])
async def test_a_preflight_that_is_refused_is_a_problem(origin: str, method: str) -> None:
    async with client_of(app_of(cors_origins=SHOP)) as client:
        asked = {"origin": origin, "access-control-request-method": method}
        answer = await client.options("/v1/rank", headers=asked)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:unirank:problem:cors_refused"
    assert (ALLOW in answer.headers) == (origin == SHOP)


# ---- what never reaches the middleware ----------------------------------------------------------------------


@pytest.mark.parametrize("origins", ["", *LISTS])
@pytest.mark.parametrize("origin", [None, SHOP, EVIL, "null"])
async def test_load_shedding_sets_the_cors_headers_of_the_full_path(origins: str, origin: str | None) -> None:
    app = app_of(max_queue_candidates=1, cors_origins=origins)
    quick = LoadShedder(app.state.serving)
    async with client_of(app) as client:
        with app.state.serving.admission.admitted(1, Priority.HIGH, 1e12):
            answer = quick.answer(raw_ranking(origin))
            long = await client.post("/v1/rank", content=BODY, headers={"origin": origin} if origin else {})
    assert answer is not None
    assert long.status_code == parsed(answer).status_code == 503
    assert cors_of(parsed(answer).headers) == cors_of(long.headers)
    if origin == SHOP and origins:
        assert ALLOW in long.headers


async def say(port: int, *pieces: bytes) -> httpx.Response:
    """What is answered to these bytes until the service hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
    async with asyncio.timeout(5):
        said = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    return parsed(said)


@pytest.mark.parametrize("origin", [SHOP, EVIL])
@pytest.mark.parametrize(
    ("status", "pieces"),
    [
        (431, [b"GET / HTTP/1.1\r\nORIGIN:%s\r\nX-A: " + b"a" * (MOST_HEAD_BYTES + 1)]),
        (431, [b"GET / HTTP/1.1\r\nOrigin: %s\r\n", b"X-A: " + b"a" * (MOST_HEAD_BYTES + 1)]),
        (400, [b"GET / HTTP/1.1\r\nOrigin: %s\r\nContent-Length: x\r\n\r\n"]),
        (400, [b"GET / HTTP/1.1\r\nContent-Length: x\r\nOrigin: %s\r\n\r\n"]),
        (408, [b"GET / HTTP/1.1\r\nOrigin: %s\r\nX-A: a"]),
    ],
)
async def test_refusals_before_parsing_can_be_read_by_the_origin(
    monkeypatch: pytest.MonkeyPatch, origin: str, status: int, pieces: list[bytes]
) -> None:
    monkeypatch.setattr("app.http.protocol.HEAD_WITHIN_S", 0.1)
    async with port_of(app_of(cors_origins=SHOP)) as port:
        answer = await say(port, *(piece.replace(b"%s", origin.encode()) for piece in pieces))
    assert answer.status_code == status
    assert answer.headers.get(ALLOW) == (SHOP if origin == SHOP else None)
    assert answer.headers["vary"] == "Origin"


@pytest.mark.parametrize("target", ["http://x/metrics", "http://u:p@x:9100/metrics", "HTTP://X/metrics", "//x/metrics"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE", "CONNECT"])
async def test_an_absolute_target_does_not_bypass_access_control(tmp_path: Path, target: str, method: str) -> None:
    secret, key = new_key("shop", [Scope.RANK])
    write_keys(tmp_path / "keys.toml", [key])
    async with port_of(app_of(api_keys_file=str(tmp_path / "keys.toml"))) as port:
        for header, found in ((f"Authorization: Bearer {secret}", (400, 403, 404)), ("X-A: b", (400, 401))):
            head = f"{method} {target} HTTP/1.1\r\nHost: x\r\n{header}\r\nConnection: close\r\n\r\n"
            assert (await say(port, head.encode())).status_code in found


async def test_cors_is_off_by_default_and_covers_problems_when_on():
    origin = {"origin": "https://shop.example"}
    async with client_of(app_of()) as client:
        assert "access-control-allow-origin" not in (await client.get("/livez", headers=origin)).headers
    async with client_of(app_of(cors_origins="https://shop.example, https://b.example")) as client:
        response = await client.get("/nope", headers=origin)
        assert response.headers["access-control-allow-origin"] == "https://shop.example"
        foreign = await client.get("/livez", headers={"origin": "https://evil.example"})
        assert "access-control-allow-origin" not in foreign.headers
