"""For every route, key, port, method and spelling of a path: no spelling lets in more than the plain one.

What each route needs is written down here a second time, by hand, so that a route that changes its scope, or a new one,
fails. The endpoints are replaced by one that answers the name of its route: status 200 means that the caller was let
in.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest
from app_fakes import app_of
from fastapi import APIRouter, FastAPI
from fastapi.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from app.http.auth.keys import new_key, write_keys
from app.http.auth.route import GuardedRoute, UndeclaredAccessError, check_declared, declared_access, needs, open_to_all
from app.http.auth.scopes import Scope as Needed

pytestmark = pytest.mark.anyio
OPEN, RANK, WRITE, ADMIN = None, Needed.RANK, Needed.WRITE, Needed.ADMIN
ADMIN_PORT, PORT = 9100, 8000
MODEL = "/v1/models/{version}"
NEEDS = {
    "POST /v1/rank": RANK, "POST /v1/search": RANK, "GET /v1/search": RANK, "POST /v1/homepage": RANK,
    "POST /v1/more-like-this/{entity_id}": RANK, "GET /v1/entities/{entity_id}": RANK, "GET /v1/limits": RANK,
    "GET /page/users": RANK, "POST /v1/events": WRITE, "GET /metrics": ADMIN, "GET /v1/models": ADMIN,
    **{f"POST {MODEL}/{move}": ADMIN for move in ("activate", "rollback", "split", "shadow")},
    **{f"DELETE {MODEL}/{move}": ADMIN for move in ("split", "shadow")},
    "GET /livez": OPEN, "GET /readyz": OPEN, "GET /": OPEN, "GET /docs": OPEN, "GET /openapi.json": OPEN,
}  # fmt: skip
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get", "PROPFIND")
ENDINGS = (
    "", "%0A", "%0D", "%0D%0A", "%0A%0A", "%00", "%20", "%09", "%2F", "/", "//", ";x", ";/", "/.", "/..", "/%2e",
    "/%2E%2e", "?", "?x=1", "?%0A", "#x", "%23", "%3F", ".", "%5C", "%C2%A0", "%E2%80%A8", "%FF", "%25", "%250A",
    "/%0A",
)  # fmt: skip


def spellings(path: str) -> Iterator[str]:
    """The path in ways that some router, proxy or pattern takes for the same."""
    yield from (path + ending for ending in ENDINGS)
    yield from (start + path for start in ("/", "//", "/.", "/%2e%2e", "/x/..", "%2F", "/v1/entities/..", "%0A", ";"))
    yield from (path.upper(), path.title(), path.replace("/", "//"), path.replace("/", "%2F"), path.replace("/", "/./"))
    yield from (path.replace("/", "\\"), path[:1] + "".join(f"%{ord(letter):02x}" for letter in path[1:]))
    yield from (path.replace(letter, f"{letter}{inside}", 1) for letter in "vm" for inside in ("%0A", "%00", "%AD"))


@pytest.fixture
def secrets_of(tmp_path: Path) -> dict[Needed | None, str | None]:
    """The secret of a key for each scope; none for nobody."""
    made = {scope: new_key(str(scope), [scope]) for scope in Needed}
    write_keys(tmp_path / "keys.toml", [key for _, key in made.values()])
    return {None: None, **{scope: secret for scope, (secret, _) in made.items()}}


@pytest.fixture
def app(
    tmp_path: Path, secrets_of: dict[Needed | None, str | None], monkeypatch: pytest.MonkeyPatch
) -> dict[int, FastAPI]:
    """The service without and with a port of its own for the operator; its endpoints say which route they are of."""
    made = {
        admin_port: app_of(api_keys_file=str(tmp_path / "keys.toml"), state_dir=str(tmp_path), admin_port=admin_port)
        for admin_port in (0, ADMIN_PORT)
    }
    for route in made[0].routes:
        assert isinstance(route, GuardedRoute)
        (method,) = route.methods or ()
        monkeypatch.setattr(route, "app", PlainTextResponse(f"{method} {route.path_format}"))
    return made


async def ask(app: FastAPI, method: str, target: str, secret: str | None, port: int = PORT) -> tuple[int, str]:
    """Status and body, for a target that is decoded as uvicorn does."""
    raw, _, query = target.partition("#")[0].partition("?")
    headers = [] if secret is None else [(b"authorization", f"Bearer {secret}".encode())]
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "method": method,
        "path": urllib.parse.unquote(raw), "raw_path": raw.encode(), "query_string": query.encode(), "root_path": "",
        "headers": headers, "client": ("test", 1), "server": ("test", port),
    }  # fmt: skip
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:]).decode()


def allowed(name: str, key: Needed | None, admin_port: int, port: int) -> bool:
    """Whether a key may reach a route over a port."""
    needed = NEEDS[name]
    return needed is OPEN or (needed == key and not (admin_port and needed is ADMIN and port != admin_port))


def plain(name: str) -> tuple[str, str]:
    """A method and a path that this route answers."""
    method, _, path = name.partition(" ")
    return method, path.replace("{version}", "v1").replace("{entity_id}", "f1")


def test_what_each_route_needs_is_written_down(app: dict[int, FastAPI]) -> None:
    routes = [route for route in app[0].routes if isinstance(route, GuardedRoute)]
    assert {f"{method} {route.path_format}" for route in routes for method in route.methods or ()} == set(NEEDS)


@pytest.mark.parametrize("name", NEEDS)
async def test_the_plain_spelling_lets_in_exactly_the_allowed_keys(
    app: dict[int, FastAPI], secrets_of: dict[Needed | None, str | None], name: str
) -> None:
    method, path = plain(name)
    for admin_port, port in ((0, PORT), (ADMIN_PORT, PORT), (ADMIN_PORT, ADMIN_PORT)):
        for key, secret in secrets_of.items():
            status, body = await ask(app[admin_port], method, path, secret, port)
            if allowed(name, key, admin_port, port):
                assert (status, body) == (200, name)
            elif key is None:
                assert status == 401, "before it is said whether there is such a path"
            else:
                assert status == (404 if admin_port != port and admin_port and NEEDS[name] is ADMIN else 403)


@pytest.mark.parametrize("admin_port", [0, ADMIN_PORT])
@pytest.mark.parametrize("name", NEEDS)
async def test_no_spelling_lets_in_more(
    app: dict[int, FastAPI], secrets_of: dict[Needed | None, str | None], name: str, admin_port: int
) -> None:
    method, path = plain(name)
    for target in dict.fromkeys(spellings(path)):
        for key, secret in secrets_of.items():
            status, body = await ask(app[admin_port], method, target, secret)
            assert status in (200, 401, 403, 404, 405), target
            if status == 200:
                assert allowed(body, key, admin_port, PORT), (target, key, body)
            elif key is None:
                assert status == 401, (target, "nobody learns which paths there are")


@pytest.mark.parametrize("name", NEEDS)
async def test_no_method_lets_in_more(
    app: dict[int, FastAPI], secrets_of: dict[Needed | None, str | None], name: str
) -> None:
    _, path = plain(name)
    for method in METHODS:
        for key, secret in secrets_of.items():
            for target in (path, f"{path}%0A", f"{path}/"):
                status, body = await ask(app[0], method, target, secret)
                answers = f"GET {name.partition(' ')[2]}" if method == "HEAD" else body
                if status == 200:
                    assert body or method == "HEAD"
                    assert allowed(answers, key, 0, PORT), (method, target, key)
                elif key is None and (NEEDS[name] is not OPEN or target != path):
                    assert status == 401, (method, target)


async def test_websockets_are_closed_and_no_lifespan_is_stopped(app: dict[int, FastAPI]) -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/metrics", "headers": [], "server": ("test", PORT), "query_string": b""}
    await app[0](scope, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]


# ---- what cannot be built -----------------------------------------------------------------------------------


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError("never reached")


def test_a_route_without_a_declared_scope_cannot_be_made() -> None:
    router = APIRouter(route_class=GuardedRoute)
    with pytest.raises(UndeclaredAccessError, match="does not declare who may call it"):

        @router.get("/secret")
        async def secret() -> None: ...


@pytest.mark.parametrize("kind", ["route", "api route", "mount", "websocket", "included", "documents"])
async def test_an_application_with_an_unguarded_route_refuses_to_start(kind: str) -> None:
    app = FastAPI(openapi_url=None) if kind == "documents" else app_of()
    router = APIRouter()
    router.add_api_route("/x", nothing)
    add = {
        "route": lambda: app.router.routes.append(Route("/x", nothing)),
        "api route": lambda: app.add_api_route("/x", nothing),
        "mount": lambda: app.mount("/x", nothing),
        "websocket": lambda: app.router.add_websocket_route("/x", nothing),
        "included": lambda: app.include_router(router),
        "documents": lambda: app.router.routes.extend(FastAPI().routes),
    }
    add[kind]()
    with pytest.raises(UndeclaredAccessError):
        check_declared(app.routes)
    if kind != "documents":
        with pytest.raises(UndeclaredAccessError):
            await ask(app, "GET", "/livez", None)


async def test_what_a_route_declares_survives_being_included(
    tmp_path: Path, secrets_of: dict[Needed | None, str | None]
) -> None:
    inner, outer = APIRouter(route_class=GuardedRoute), APIRouter(prefix="/outer", route_class=GuardedRoute)

    @inner.get("/secret")
    @needs(Needed.ADMIN)
    async def secret() -> str:
        return "secret"

    @inner.get("/known")
    @open_to_all
    async def known() -> str:
        return "known"

    outer.include_router(inner, prefix="/inner")
    app = app_of(api_keys_file=str(tmp_path / "keys.toml"), state_dir=str(tmp_path))
    app.include_router(outer)
    codes = {key: (await ask(app, "GET", "/outer/inner/secret", found))[0] for key, found in secrets_of.items()}
    assert codes == {None: 401, RANK: 403, WRITE: 403, ADMIN: 200}
    assert (await ask(app, "DELETE", "/outer/inner/secret", None))[0] == 401
    assert (await ask(app, "GET", "/outer/inner/known", None))[0] == 200
    assert declared_access(secret).scope is ADMIN
