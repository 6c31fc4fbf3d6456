"""The image, the compose file, the pinned versions and the metrics that ship agree with the code. Builds and starts
nothing.
"""

from __future__ import annotations

import inspect
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.supervisors import Multiprocess

from app.settings import Settings

ROOT = Path(__file__).parents[1]


def instructions(text: str) -> list[tuple[str, str]]:
    """A Dockerfile as (instruction, arguments), comments dropped and continued lines joined."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    pairs = (line.strip().partition(" ") for line in joined.splitlines())
    return [(word.upper(), rest.strip()) for word, _, rest in pairs]


def load(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def pins() -> dict[str, str]:
    """constraints.txt as canonical name → version; fails on any other kind of line."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found = [re.fullmatch(r"([\w.-]+)==([\w.]+)", line) for line in lines if not line.startswith("#")]
    assert None not in found, "constraints.txt holds `name==version` only: no index, no path, no local version"
    return {canonicalize_name(match[1]): match[2] for match in found if match}


@pytest.fixture
def image() -> list[tuple[str, str]]:
    return instructions((ROOT / "Dockerfile").read_text(encoding="utf-8"))


@pytest.fixture
def services() -> dict[str, Any]:
    return load("docker-compose.yml")["services"]


def arguments(image: list[tuple[str, str]], instruction: str) -> list[str]:
    return [rest for word, rest in image if word == instruction]


def test_a_dockerfile_is_read_with_comments_and_continuations() -> None:
    text = "# why\nRUN a \\\n    # inside\n    && b\n\nuser me\n"
    assert instructions(text) == [("RUN", "a && b"), ("USER", "me")]


def test_the_image_runs_as_an_ordinary_user(image) -> None:
    last_stage = image[max(i for i, (word, _) in enumerate(image) if word == "FROM") :]
    users = arguments(last_stage, "USER")
    assert users
    assert users[-1] not in ("root", "0")
    assert last_stage.index(("USER", users[-1])) > max(i for i, (word, _) in enumerate(last_stage) if word == "RUN")


def test_the_health_check_of_the_image_is_livez(image) -> None:
    [check] = arguments(image, "HEALTHCHECK")
    command = json.loads(check.partition("CMD ")[2])
    assert command[:2] == ["python", "-c"]
    assert "/livez" in command[2]
    compile(command[2], "HEALTHCHECK", "exec")


def test_the_image_serves_the_volume_and_the_demo_where_it_is_empty(image) -> None:
    [command] = arguments(image, "CMD")
    assert json.loads(command) == ["unirank", "serve", "/models", "--host", "0.0.0.0", "--demo-if-empty"]
    assert json.loads(arguments(image, "VOLUME")[0]) == ["/models", "/state"]
    assert arguments(image, "EXPOSE") == [str(Settings.model_fields["port"].default)]


def test_every_base_image_names_its_version(image, services) -> None:
    bases = [base.split()[0] for base in arguments(image, "FROM")]
    images = bases + [service["image"] for service in services.values() if "image" in service]
    assert len(images) >= 3
    for name in images:
        assert re.fullmatch(r"[\w./-]+:v?\d[\w.-]*", name), f"{name}: expected a tag that begins with a version"


def test_what_the_image_copies_reaches_the_build(image) -> None:
    kept = set(re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), flags=re.M))
    copied = [rest.split()[:-1] for rest in arguments(image, "COPY") if "--from" not in rest]
    assert {source.removeprefix("./") for sources in copied for source in sources} == kept


def test_the_image_has_the_pinned_torch(image) -> None:
    installed = re.findall(r"\btorch==(\S+)", " ".join(arguments(image, "RUN")))
    assert installed == [pins()["torch"]]


def test_every_dependency_is_pinned_within_its_range() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    pinned = pins()
    for line in [*project["dependencies"], *extras["demo"], *extras["dev"]]:
        requirement = Requirement(line)
        version = pinned.get(canonicalize_name(requirement.name))
        assert version is not None, f"constraints.txt lacks {requirement.name}"
        assert version in requirement.specifier, f"constraints.txt: {requirement.name}=={version} is not {line}"


def test_a_server_whose_internals_are_subclassed_is_bounded_on_both_sides() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    ranges = {r.name: r.specifier for r in map(Requirement, project["dependencies"])}
    assert "0.50.2" not in ranges["uvicorn"], "Multiprocess wants a target there"
    for name in ("uvicorn", "fastapi", "starlette"):
        newest = pins()[name]
        assert newest in ranges[name]
        assert "99" not in ranges[name], f"{name} has no upper bound"


def test_what_is_subclassed_of_the_server_is_there() -> None:
    """Parts of uvicorn that no document names: a version without one of them must not be let in."""
    assert {"config", "sockets"} == set(inspect.signature(Multiprocess).parameters)
    assert {"keep_subprocess_alive", "handle_term"} <= set(vars(Multiprocess))
    assert "timeout_worker_healthcheck" in inspect.signature(Config).parameters
    for name in ("on_headers_complete", "on_message_complete", "on_response_complete", "send_400_response"):
        assert callable(getattr(HttpToolsProtocol, name))
    assert "timeout_keep_alive_handler" in vars(HttpToolsProtocol)


def test_redis_keeps_every_acknowledged_write(services) -> None:
    command = services["redis"]["command"]
    assert all(isinstance(word, str) for word in command), "a bare yes is true in YAML: put it in quotes"
    flags = dict(zip(command[1::2], command[2::2], strict=True))
    assert flags["--appendonly"] == "yes"
    assert flags["--appendfsync"] == "always"
    assert flags["--maxmemory-policy"] == "volatile-lru"
    assert flags["--maxmemory"]
    assert any(volume.endswith(":/data") for volume in services["redis"]["volumes"])


def test_the_service_reaches_redis_and_does_not_wait_for_it(services) -> None:
    """It answers without; and the demo's catalogue is never looked for there."""
    service = services["service"]
    assert {"service", "redis", "prometheus"} <= set(services)
    assert service["environment"]["UNIRANK_REDIS_URL"] == "redis://redis:6379/0"
    assert "redis" not in service.get("depends_on", {})
    assert any(volume.endswith(":/models") for volume in service["volumes"])


def test_every_setting_in_the_compose_file_exists(services) -> None:
    known = {f"UNIRANK_{name.upper()}" for name in Settings.model_fields}
    assert set(services["service"]["environment"]) <= known


def test_ports_are_open_on_this_machine_only(services) -> None:
    for service in services.values():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{port}: the service has no keys by default"


def test_every_service_has_a_health_check_and_named_volumes(services) -> None:
    named = load("docker-compose.yml")["volumes"]
    for name, service in services.items():
        assert "healthcheck" in service or "build" in service, f"{name} has no health check"
        for volume in service["volumes"]:
            assert volume.startswith("./") or volume.partition(":")[0] in named


def test_prometheus_collects_from_the_service(services) -> None:
    mounted = [v.split(":")[0] for v in services["prometheus"]["volumes"] if v.startswith("./")]
    [job] = load(mounted[0])["scrape_configs"]
    assert job["metrics_path"] == "/metrics"
    [target] = job["static_configs"]
    host, _, port = target["targets"][0].partition(":")
    assert host in services
    assert services[host]["ports"] == [f"127.0.0.1:{port}:{port}"]


def test_continuous_integration_runs_what_one_runs_at_home() -> None:
    job = load(".github/workflows/ci.yml")["jobs"]["test"]
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.13"]
    assert job["steps"][-1]["run"].startswith("make test")
