"""HEAD answers as GET does, without a body, on every route that takes GET."""

from __future__ import annotations

import asyncio
import socket

import httpx
import pytest
import uvicorn
from app_fakes import FakeModel, app_of, client_of
from fastapi import FastAPI

from app.http.protocol import HttpConnection

pytestmark = pytest.mark.anyio
GETS = (
    "/", "/page/users", "/livez", "/readyz", "/docs", "/openapi.json", "/metrics", "/v1/limits", "/v1/entities/f1",
    "/v1/search?q=toy", "/v1/entities/none", "/v1/models", "/nowhere", "/v1/rank", "/v1/search?q=toy&limit=x",
)  # fmt: skip
VARYING = {"x-request-id", "server-timing", "date", "content-length"}


def test_the_list_has_all_routes_that_take_get() -> None:
    paths = {route.path for route in app_of().routes if "GET" in route.methods}
    asked = {path.partition("?")[0].replace("/f1", "/{entity_id:path}") for path in GETS}
    assert paths <= asked


@pytest.mark.parametrize("path", GETS)
async def test_head_is_get_without_its_body(path: str) -> None:
    async with client_of(app_of()) as client:
        got, head = await client.get(path), await client.head(path)
    assert head.status_code == got.status_code
    assert head.content == b""
    assert {k: v for k, v in head.headers.items() if k not in VARYING} == {
        k: v for k, v in got.headers.items() if k not in VARYING
    }
    if path != "/metrics" and "took_ms" not in got.text and "request_id" not in got.text:
        assert head.headers["content-length"] == got.headers["content-length"]


@pytest.mark.parametrize("path", ["/v1/rank", "/v1/events", "/v1/homepage", "/v1/models/x/activate"])
async def test_head_of_a_route_that_takes_no_get_is_refused(path: str) -> None:
    async with client_of(app_of()) as client:
        answer = await client.head(path)
        assert answer.status_code == 405
        assert answer.headers["allow"] == "POST"
        assert answer.content == b""


async def test_head_needs_the_key_that_get_needs(keyed: tuple[FastAPI, FakeModel, dict[str, str]]) -> None:
    app, _, key = keyed
    async with client_of(app) as client:
        assert (await client.head("/v1/limits")).status_code == 401
        assert (await client.head("/v1/limits", headers=key)).status_code == 200
        assert (await client.head("/metrics", headers=key)).status_code == 403
        assert (await client.head("/nowhere")).status_code == 401


async def test_head_keeps_a_connection_usable_for_further_requests() -> None:
    server = uvicorn.Server(uvicorn.Config(app_of(), http=HttpConnection, log_level="critical", lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = asyncio.create_task(server.serve([listening]))
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}") as client:
                for path in ("/livez", "/v1/entities/f1", "/nowhere", "/livez"):
                    head, got = await client.head(path), await client.get(path)
                    assert (head.status_code, head.content) == (got.status_code, b"")
                    assert head.headers["content-length"] == str(len(got.content))
        finally:
            server.should_exit = True
            await serving


def test_head_is_not_in_the_openapi_document() -> None:
    operations = {method for path in app_of().openapi()["paths"].values() for method in path}
    assert operations == {"get", "post", "delete"}
