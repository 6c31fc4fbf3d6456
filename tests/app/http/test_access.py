"""A request is let in by its key, scope and rate; the admin port is separate; a changed or broken file of keys is
handled.
"""

from __future__ import annotations

import stat
from pathlib import Path

import httpx
import pytest
from api_keys import bearer
from app_fakes import Clock, app_of, client_of
from typer.testing import CliRunner

from app.cli import app as commands
from app.http.auth.keys import KeysFileError, hashed, new_key, read_keys, write_keys
from app.http.auth.policy import KeyRing
from app.http.auth.scopes import Scope
from app.http.auth.token_bucket import TokenBucket

RANK, WRITE, ADMIN = Scope.RANK, Scope.WRITE, Scope.ADMIN
SEARCH = {"query": "toy"}


async def ask(folder: Path, method: str, path: str, **options: object) -> httpx.Response:
    app = app_of(api_keys_file=str(folder / "keys.toml"), state_dir=str(folder))
    async with client_of(app) as client:
        return await client.request(method, path, **options)  # type: ignore[arg-type]


# ---- keys and scopes ----------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Basic abc"}, {"authorization": "Bearer"}, {"x-api-key": ""}]
)
async def test_without_a_key_nothing_is_ranked(
    tmp_path: Path, secrets_of: dict[str, str], headers: dict[str, str]
) -> None:
    answer = await ask(tmp_path, "POST", "/v1/search", json=SEARCH, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:unirank:problem:unauthorized"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


@pytest.mark.anyio
@pytest.mark.parametrize("wrong", ["", "x", "unirank_", "é".encode().decode("latin-1"), "a" * 5000])
async def test_an_unknown_key_is_refused(tmp_path: Path, secrets_of: dict[str, str], wrong: str) -> None:
    given = secrets_of[RANK] + wrong if wrong else hashed(secrets_of[RANK])  # the hash in the file is no key
    answer = await ask(tmp_path, "POST", "/v1/search", json=SEARCH, headers=[(b"x-api-key", given.encode("latin-1"))])
    assert answer.status_code == 401
    assert given not in answer.text


@pytest.mark.anyio
@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
async def test_a_key_with_the_scope_is_let_in(tmp_path: Path, secrets_of: dict[str, str], header: str) -> None:
    secret = secrets_of[RANK]
    headers = bearer(secret) if header == "authorization" else {"x-api-key": secret}
    assert (await ask(tmp_path, "POST", "/v1/search", json=SEARCH, headers=headers)).status_code == 200


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("method", "path", "needed"),
    [
        ("POST", "/v1/rank", RANK),
        ("GET", "/v1/search", RANK),
        ("POST", "/v1/events", WRITE),
        ("PUT", "/v1/entities", WRITE),
        ("DELETE", "/v1/users/u1", WRITE),
        ("GET", "/v1/entities/f1", RANK),
        ("GET", "/metrics", ADMIN),
        ("HEAD", "/metrics", ADMIN),
        ("POST", "/v1/models/v1/activate", ADMIN),
        ("GET", "/no/such/path", RANK),
        ("GET", "/metrics/", RANK),
        ("GET", "//metrics", RANK),
    ],
)
async def test_each_route_asks_for_one_scope(
    tmp_path: Path, secrets_of: dict[str, str], method: str, path: str, needed: Scope
) -> None:
    for scope, secret in secrets_of.items():
        answer = await ask(tmp_path, method, f"http://test{path}", headers=bearer(secret))
        assert (answer.status_code == 403) == (scope != needed), (scope, answer.status_code)


def test_every_documented_route_needs_a_scope_or_is_meant_to_be_open(
    tmp_path: Path, secrets_of: dict[str, str]
) -> None:
    document = app_of(api_keys_file=str(tmp_path / "keys.toml")).openapi()
    routes = [(path, operation) for path, operations in document["paths"].items() for operation in operations.values()]
    assert {path for path, operation in routes if "security" not in operation} == {"/livez", "/readyz"}
    assert all(
        f"Scope: `{operation['x-scope']}`" in operation["description"]
        for _, operation in routes
        if "security" in operation
    )
    assert len(routes) > 8


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/", "/livez", "/readyz", "/openapi.json", "/docs"])
async def test_probes_the_page_and_the_openapi_document_need_no_key(
    tmp_path: Path, secrets_of: dict[str, str], path: str
) -> None:
    assert (await ask(tmp_path, "GET", path)).status_code == 200


@pytest.mark.anyio
async def test_the_openapi_document_names_keys_and_refusals_where_there_are_keys(
    tmp_path: Path, secrets_of: dict[str, str]
) -> None:
    document = (await ask(tmp_path, "GET", "/openapi.json")).json()
    search = document["paths"]["/v1/search"]["post"]
    assert search["security"] == [{"bearer": []}, {"header": []}]
    assert {"401", "403", "429"} <= set(search["responses"])
    assert set(document["components"]["securitySchemes"]) == {"bearer", "header"}
    assert "security" not in document["paths"]["/livez"]["get"]
    open_document = app_of().openapi()
    assert "401" not in open_document["paths"]["/v1/search"]["post"]["responses"]


@pytest.mark.anyio
async def test_every_answer_has_the_security_headers_for_browsers() -> None:
    async with client_of(app_of()) as client:
        for path in ("/", "/livez", "/nowhere"):
            headers = (await client.get(path)).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert headers["referrer-policy"] == "no-referrer"
        policy = (await client.get("/")).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy


# ---- rates --------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_key_above_its_rate_is_refused_and_others_are_not(tmp_path: Path) -> None:
    busy, busy_key = new_key("busy", [RANK], rate_per_s=0.5, burst=2)
    calm, calm_key = new_key("calm", [RANK])
    write_keys(tmp_path / "keys.toml", [busy_key, calm_key])
    async with client_of(app_of(api_keys_file=str(tmp_path / "keys.toml"))) as client:
        codes = [(await client.get("/v1/limits", headers=bearer(busy))).status_code for _ in range(3)]
        refused = await client.get("/v1/limits", headers=bearer(busy))
        assert codes == [200, 200, 429]
        assert 1 <= int(refused.headers["retry-after"]) <= 2
        assert refused.json()["type"] == "urn:unirank:problem:rate_limited"
        assert (await client.get("/v1/limits", headers=bearer(calm))).status_code == 200


def test_a_token_bucket_fills_with_time_and_not_above_its_burst() -> None:
    _, key = new_key("k", [RANK], rate_per_s=10, burst=3)
    bucket = TokenBucket(key, now=0.0)
    assert [bucket.wait_s(0.0) for _ in range(3)] == [0, 0, 0]
    assert bucket.wait_s(0.0) == pytest.approx(0.1)
    assert bucket.wait_s(0.1) == 0
    assert [bucket.wait_s(1000.0) == 0 for _ in range(4)] == [True, True, True, False]
    assert bucket.wait_s(999.0) > 0  # a clock that goes back gives nothing


# ---- the file -----------------------------------------------------------------------------------------------


def test_the_key_file_has_no_secret_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    secret, key = new_key("search-bar", [RANK, WRITE], 100)
    path = tmp_path / "new" / "keys.toml"
    write_keys(path, [key])
    assert secret not in path.read_text()
    assert hashed(secret) in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_keys(path) == [key]
    assert (key.rate_per_s, key.burst) == (100, 100)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("key = 3", "list"),
        ("[[keys]]", "unknown keys"),
        ("[[key]]\nname = 'a'", "sha256"),
        ("[[key]\n", "keys.toml"),
        (f"[[key]]\nname = 'a'\nsha256 = '{'0' * 64}'\nscopes = []", "scopes"),
        (f"[[key]]\nname = 'a'\nsha256 = '{'0' * 64}'\nscopes = ['root']", "scopes"),
        (f"[[key]]\nname = 'a'\nsha256 = '{'0' * 64}'\nscopes = ['rank']\nrate_per_s = -1", "rate_per_s"),
        (f"[[key]]\nname = 'a'\nsha256 = '{'0' * 64}'\nscopes = ['rank']\n" * 2, "two keys named a"),
        ("[[key]]\nname = 'a'\nsha256 = 'unirank_secret'\nscopes = ['rank']", "sha256"),
        (b"\xff", "keys.toml"),
    ],
)
def test_a_bad_file_is_refused_in_one_line_that_shows_no_secret(tmp_path: Path, text: str | bytes, said: str) -> None:
    path = tmp_path / "keys.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(KeysFileError) as error:
        read_keys(path)
    assert said in str(error.value)
    assert "unirank_secret" not in str(error.value)


def test_keys_change_while_the_service_runs_and_a_bad_file_changes_nothing(tmp_path: Path) -> None:
    path, clock = tmp_path / "keys.toml", Clock()
    first, first_key = new_key("first", [RANK])
    second, second_key = new_key("second", [RANK])
    write_keys(path, [first_key])
    ring = KeyRing(path, clock)
    assert ring.find(first) == first_key
    assert ring.find(second) is None
    write_keys(path, [second_key])
    assert ring.find(first) == first_key  # not looked at again within a second
    clock.now += 1.1
    assert ring.find(first) is None
    assert ring.find(second) == second_key
    path.write_text("[[key]")
    clock.now += 1.1
    assert ring.find(second) == second_key
    path.unlink()
    clock.now += 1.1
    assert ring.find(second) == second_key


def test_a_changed_rate_counts_at_once_and_other_keys_keep_their_count(tmp_path: Path) -> None:
    path, clock = tmp_path / "keys.toml", Clock()
    slow, slow_key = new_key("slow", [RANK], 0.001)
    _other, other_key = new_key("other", [RANK], 0.001)
    write_keys(path, [slow_key, other_key])
    ring = KeyRing(path, clock)
    for key in (slow_key, other_key):
        assert ring.wait_s(key) == 0
        assert ring.wait_s(key) > 0
    faster = slow_key.model_copy(update={"rate_per_s": 1000.0, "burst": 5})
    write_keys(path, [faster, other_key])
    clock.now += 1.1
    found = ring.find(slow)
    assert found == faster
    assert [ring.wait_s(found) for _ in range(5)] == [0] * 5
    assert ring.wait_s(other_key) > 0


def test_keys_are_made_listed_and_removed_by_commands(tmp_path: Path) -> None:
    path, run = tmp_path / "keys.toml", CliRunner().invoke
    made = run(commands, ["keys", "add", str(path), "shop", "--scope", "rank", "--scope", "write", "--rate", "50"])
    assert made.exit_code == 0
    secret = made.stdout.strip().splitlines()[-1]
    (key,) = read_keys(path)
    assert key.sha256 == hashed(secret)
    assert key.scopes == {RANK, WRITE}
    assert key.rate_per_s == 50
    listed = run(commands, ["keys", "list", str(path)])
    assert "shop" in listed.stdout
    assert "rank, write" in listed.stdout
    assert secret not in listed.stdout
    again = run(commands, ["keys", "add", str(path), "shop"])
    assert isinstance(again.exception, ValueError)
    assert "already" in str(again.exception)
    assert run(commands, ["keys", "remove", str(path), "shop"]).exit_code == 0
    assert read_keys(path) == []
    gone = run(commands, ["keys", "remove", str(path), "shop"])
    assert isinstance(gone.exception, ValueError)
    assert "no key named shop" in str(gone.exception)


# ---- the admin port -----------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_with_an_admin_port_metrics_are_nowhere_else() -> None:
    app = app_of(admin_port=9100)
    for port, status in ((8000, 404), (9100, 200)):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://test:{port}") as client:
            assert (await client.get("/metrics")).status_code == status
            assert (await client.get("/livez")).status_code == 200
