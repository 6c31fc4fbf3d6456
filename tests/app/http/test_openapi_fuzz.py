"""Whatever the OpenAPI document allows or forbids, a real server answers as documented; schemathesis makes the
requests.

It runs as a command of its own, so that its plugins and warnings stay out of the other tests.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from model_registry import registry_of_three
from server_process import served

from app.http.auth.keys import new_key, write_keys
from app.http.auth.scopes import Scope

SEED = "6"
PATIENCE_S = 240
# What is documented and not built yet is refused with 422, so a valid body is not always accepted.
UNBUILT = "positive_data_acceptance"
# A request that says timeout_ms=1 may be refused for want of time, as documented; 500 is never expected.
SETTINGS = '[checks.not_a_server_error]\nexpected-statuses = ["2xx", "3xx", "4xx", "503"]\n'
BUILT = ("/v1/events", "/v1/entities/{entity_id}", "/v1/limits", "/v1/models", "/livez", "/readyz")


@pytest.fixture(scope="module")
def service(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The URL of a service that follows a registry and knows its callers, and a key that may do everything."""
    folder = tmp_path_factory.mktemp("fuzz")
    registry = registry_of_three(model_path, folder / "models")
    secret, key = new_key("fuzz", list(Scope))
    write_keys(folder / "keys.toml", [key])
    log = folder / "log"
    with served(registry, log, state_dir=folder, api_keys_file=folder / "keys.toml") as (_, url):
        yield url, secret
    assert "Traceback" not in log.read_text()


def fuzz(service: tuple[str, str], folder: Path, *options: str) -> None:
    """Run schemathesis; fail with what it printed where it found something."""
    url, secret = service
    (folder / "schemathesis.toml").write_text(SETTINGS)
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json",
        "--header", f"X-API-Key: {secret}", "--header", f"Authorization: Bearer {secret}",
        "--seed", SEED, "--no-shrink", "--continue-on-failure", "--warnings", "off", *options,
    ]  # fmt: skip
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert ended.returncode == 0, ended.stdout[-8000:] + ended.stderr[-2000:]


def test_every_answer_is_as_documented(service: tuple[str, str], tmp_path: Path) -> None:
    fuzz(service, tmp_path, "--checks", "all", "--exclude-checks", UNBUILT, "--max-examples", "25")


def test_what_is_documented_and_built_is_accepted(service: tuple[str, str], tmp_path: Path) -> None:
    paths = [option for path in BUILT for option in ("--include-path", path)]
    fuzz(service, tmp_path, "--checks", UNBUILT, "--mode", "positive", "--max-examples", "50", *paths)
