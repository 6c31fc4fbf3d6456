"""Headers, ports and newlines in paths do not get around access control; an unreadable file of keys is read again
later.
"""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from api_keys import bearer
from app_fakes import Clock, app_of

from app.http.auth.keys import Key, KeysFileError, new_key, write_keys
from app.http.auth.policy import KeyRing
from app.http.auth.scopes import Scope

RANK, ADMIN = Scope.RANK, Scope.ADMIN


async def ask(folder: Path, method: str, path: str, headers: object = None) -> httpx.Response:
    app = app_of(api_keys_file=str(folder / "keys.toml"), state_dir=str(folder))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        return await client.request(method, path, headers=headers)  # type: ignore[arg-type]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "path", ["/metrics%0A", "/v1/models%0A", "/v1/models/v1/activate%0A", "/v1/models/v1%0A/split"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_a_newline_at_the_end_of_a_path_opens_nothing(
    tmp_path: Path, secrets_of: dict[Scope, str], method: str, path: str
) -> None:
    answer = await ask(tmp_path, method, path, headers=bearer(secrets_of[RANK]))
    assert answer.status_code in (403, 404)
    for secret in secrets_of.values():  # it is another path, and there is nothing
        answer = await ask(tmp_path, method, f"/v1/limits{path[-3:]}", headers=bearer(secret))
        assert answer.status_code in (403, 404)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("authorization", "bearer {key}")], 200),
        ([("authorization", "BEARER   {key} ")], 200),
        ([("Authorization", "Bearer {key}"), ("X-API-Key", "other")], 200),
        ([("authorization", "Basic abc"), ("x-api-key", "{key}")], 200),  # the proxy's own login
        ([("authorization", "Bearer {key}"), ("authorization", "Bearer {key}")], 401),
        ([("authorization", "Bearer {key}"), ("authorization", "Basic abc")], 401),
        ([("x-api-key", "{key}"), ("x-api-key", "other")], 401),
        ([("authorization", "Bearer {key}\xff\xfe")], 401),
        ([("authorization", "\xff")], 401),
        ([("authorization", "Bearer{key}")], 401),
        ([("authorization", "Bearer {key}, Bearer {key}")], 401),
        ([("x-forwarded-authorization", "Bearer {key}")], 401),
        ([("cookie", "x-api-key={key}")], 401),
    ],
)
async def test_a_key_comes_in_one_header_and_no_bytes_in_it_cause_a_crash(
    tmp_path: Path, secrets_of: dict[Scope, str], headers: list[tuple[str, str]], status: int
) -> None:
    sent = [(name.encode(), value.format(key=secrets_of[RANK]).encode("latin-1")) for name, value in headers]
    assert (await ask(tmp_path, "GET", "/v1/limits", headers=sent)).status_code == status
    assert (await ask(tmp_path, "GET", f"/v1/limits?key={secrets_of[RANK]}&access_token=x")).status_code == 401


@pytest.mark.anyio
async def test_without_a_key_nothing_is_revealed_of_what_the_admin_port_serves(
    tmp_path: Path, secrets_of: dict[Scope, str]
) -> None:
    app = app_of(admin_port=9100, api_keys_file=str(tmp_path / "keys.toml"))
    headers = {"x-forwarded-port": "9100", "x-forwarded-host": "test:9100", "host": "test:9100"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test:8000") as client:
        for path in ("/metrics", "/v1/models", "/nowhere"):
            assert (await client.get(path, headers=headers)).status_code == 401
        answer = await client.get("/metrics", headers=headers | bearer(secrets_of[ADMIN]))
        assert answer.status_code == 404


def test_a_key_file_that_becomes_readable_again_is_read_although_its_mtime_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path, clock = tmp_path / "keys.toml", Clock()
    first, first_key = new_key("first", [RANK])
    second, second_key = new_key("second", [RANK])
    write_keys(path, [first_key])
    ring = KeyRing(path, clock)
    write_keys(path, [second_key])
    with monkeypatch.context() as patch:  # as without the right to read it
        patch.setattr("app.http.auth.policy.read_keys", refuse)
        for _ in range(3):
            clock.now += 1.1
            assert ring.find(first) == first_key
    assert len(caplog.records) == 1, "said once, not once a second"
    clock.now += 1.1
    assert ring.find(first) is None
    assert ring.find(second) == second_key


def refuse(path: Path) -> list[Key]:
    raise KeysFileError(f"{path}: Permission denied")
