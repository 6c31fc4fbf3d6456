"""Every file under app/, model/ and bench/ imports only from below or, without a circle, from its own floor.

Imports inside functions and under TYPE_CHECKING count like any other. The checker is tested too, on small trees that
break each rule.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from source_modules import Module, imported_names, own_imports, read_modules

ROOT = Path(__file__).parents[1]

# A file or a folder with all below it → its floor. The lowest floor that its imports allow is the right one.
FLOORS = {
    "model/config.py": 0,
    "model/text": 0,
    "model/datasets/errors.py": 0,  # what is wrong with a row: the event table says it, too
    "model/context": 1,
    "model/catalogue": 2,
    "model/events": 2,
    "model/datasets": 3,
    "model/features": 4,
    "model/network": 5,
    "model/retrieval": 6,
    "model/learning": 7,
    "model/evaluation": 7,
    "model/baselines": 7,
    "model/artefact": 8,
    "model/studies": 9,
    "app/settings.py": 10,
    "app/errors.py": 10,
    "app/observability": 10,
    "app/client.py": 10,
    "app/execution": 11,
    "app/entities": 12,
    "app/events": 12,
    "app/ranking": 13,
    "app/models": 14,
    "app/http": 15,
    "app/api": 16,
    "app/main.py": 17,
    "app/cli.py": 18,
    "app/commands": 18,
    "bench": 18,
}
ONLY_IN_APP = {
    "fastapi",
    "starlette",
    "pydantic",
    "pydantic_settings",
    "redis",
    "prometheus_client",
    "uvicorn",
}
ENVIRONMENT = {"environ", "environb", "getenv", "getenvb", "putenv"}
TOPS = {"app/__init__.py", "model/__init__.py"}
BENCH_COMMAND = "app/commands/bench.py"  # finds bench/ in a checkout; nothing else of the wheel may need it
CLIENT = "app/client.py"  # is copied and imported elsewhere: nothing but httpx and the standard library


def floor_of(path: str) -> float | None:
    """Floor of a file, by itself or by the nearest folder above it; None where the table has neither."""
    while path:
        if path in FLOORS:
            return FLOORS[path]
        path = path.rpartition("/")[0]
    return None


def not_on_a_floor(modules: dict[str, Module]) -> Iterator[str]:
    for module in modules.values():
        if module.path not in TOPS and floor_of(module.path) is None:
            yield (
                f"{module.path}: on no floor. Add it to FLOORS in tests/test_floors.py, the lowest floor that"
                " its imports allow; a new kind of floor needs a page in docs/decisions/"
            )


def imports_from_above(modules: dict[str, Module]) -> Iterator[str]:
    for module in modules.values():
        own = floor_of(module.path)
        for line, target in own_imports(module, modules):
            floor = floor_of(target.path)
            if own is not None and floor is not None and floor > own:
                yield (
                    f"{module.path}:{line}: floor {own} imports {target.name} of floor {floor}."
                    " Move what both need down, or pass it in"
                )


def circles(modules: dict[str, Module]) -> Iterator[str]:
    graph = {m.name: {target.name for _, target in own_imports(m, modules)} for m in modules.values()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        names = " → ".join(reversed(error.args[1]))
        yield f"import circle: {names}. Move what they share into a file below both"


def service_below_app(modules: dict[str, Module]) -> Iterator[str]:
    for module in modules.values():
        if not module.path.startswith("model/"):
            continue
        for line, name in imported_names(module):
            if name.partition(".")[0] in ONLY_IN_APP:
                yield f"{module.path}:{line}: imports {name}, which lives only in app/"
        for line in _environment_reads(module):
            yield f"{module.path}:{line}: reads the environment; settings are read in app/settings.py"


def _environment_reads(module: Module) -> Iterator[int]:
    yield from (line for line, name in imported_names(module) if name in {f"os.{n}" for n in ENVIRONMENT})
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and node.attr in ENVIRONMENT:
            yield node.lineno


def client_on_its_own(modules: dict[str, Module]) -> Iterator[str]:
    allowed = {"httpx", *sys.stdlib_module_names}
    for module in modules.values():
        for line, name in imported_names(module) if module.path == CLIENT else ():
            if name.partition(".")[0] not in allowed:
                yield f"{CLIENT}:{line}: imports {name}; the client has httpx and the standard library only"


def bench_for_its_command_alone(modules: dict[str, Module]) -> Iterator[str]:
    for module in modules.values():
        if module.path.startswith("bench/") or module.path == BENCH_COMMAND:
            continue
        for line, name in imported_names(module):
            if name.partition(".")[0] == "bench":
                yield f"{module.path}:{line}: imports {name}, which is not part of the wheel"


def bad_docstrings(modules: dict[str, Module]) -> Iterator[str]:
    for module in modules.values():
        if not ast.get_docstring(module.tree):
            yield f"{module.path}: has no docstring that says what it is"
        elif module.is_package and len(module.tree.body) > 1:
            line = module.tree.body[1].lineno
            yield f"{module.path}:{line}: a package file holds its docstring, nothing else"


def folders_without_package_file(modules: dict[str, Module]) -> Iterator[str]:
    for folder in sorted({module.path.rpartition("/")[0] for module in modules.values()}):
        if folder.replace("/", ".") not in modules:
            yield f"{folder}: has modules and no __init__.py, so that the wheel would leave it out"


RULES = (
    not_on_a_floor,
    imports_from_above,
    circles,
    service_below_app,
    client_on_its_own,
    bench_for_its_command_alone,
    bad_docstrings,
    folders_without_package_file,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_project_keeps_the_rule(rule) -> None:
    modules = read_modules(ROOT)
    assert modules
    assert "\n".join(rule(modules)) == ""


def plant(root: Path, files: dict[str, str]) -> dict[str, Module]:
    """A small tree that keeps every rule, with `files` (path → source) put over it, read back."""
    tree = {
        "app/__init__.py": '"""The service."""',
        "app/ranking/__init__.py": '"""R."""',
        "app/ranking/order.py": '"""Orders."""\nfrom model.network.ranker import Ranker\nfrom app import errors',
        "app/errors.py": '"""Errors."""\nimport pydantic, os\nos.environ',
        "app/cli.py": '"""Commands."""\ndef main():\n    from app.ranking.service import order',
        "model/__init__.py": '"""The model."""',
        "model/text/__init__.py": '"""Words."""',
        "model/text/words.py": '"""Text."""\nimport os\nos.fspath',
        "model/network/__init__.py": '"""Network."""',
        "model/network/ranker.py": '"""R."""\nimport torch\nfrom ..text import words\nfrom . import layers',
        "model/network/layers.py": '"""Layers."""\nfrom model.text.words import words',
    }
    for path, source in (tree | files).items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source, encoding="utf-8")
    return read_modules(root)


def test_a_tree_that_keeps_the_rules_passes(tmp_path: Path) -> None:
    modules = plant(tmp_path, {})
    assert [message for rule in RULES for message in rule(modules)] == []


BREAKS = [
    (not_on_a_floor, {"app/novelty.py": '"""New."""'}, "app/novelty.py: on no floor. Add it to FLOORS"),
    (not_on_a_floor, {"model/misc/__init__.py": '"""New."""'}, "model/misc/__init__.py: on no floor"),
    (
        imports_from_above,
        {"model/text/words.py": '"""T."""\nimport model.network.ranker'},
        "model/text/words.py:2: floor 0 imports model.network.ranker of floor 5",
    ),
    (
        imports_from_above,
        {"model/network/layers.py": '"""L."""\ndef f():\n    from app import errors'},
        "model/network/layers.py:3: floor 5 imports app.errors of floor 10",
    ),
    (
        imports_from_above,
        {"app/api/__init__.py": '"""R."""', "app/api/rank.py": '"""R."""\nfrom ..cli import main'},
        "app/api/rank.py:2: floor 16 imports app.cli of floor 18",
    ),
    (
        circles,
        {"app/errors.py": '"""E."""\nfrom app.ranking.order import Order'},
        "import circle: app.",
    ),
    (
        circles,
        {"model/network/layers.py": '"""L."""\ndef f():\n    from . import ranker'},
        "import circle: model.network.",
    ),
    (
        service_below_app,
        {"model/text/words.py": '"""T."""\nfrom redis.asyncio import Redis'},
        "model/text/words.py:2: imports redis.asyncio.Redis, which lives only in app/",
    ),
    (
        service_below_app,
        {"model/text/words.py": '"""T."""\nimport os as o\no.environ["A"]'},
        "model/text/words.py:3: reads the environment",
    ),
    (
        service_below_app,
        {"model/text/words.py": '"""T."""\nfrom os import getenv'},
        "model/text/words.py:2: reads the environment",
    ),
    (
        client_on_its_own,
        {"app/client.py": '"""C."""\nimport httpx, json, msgspec'},
        "app/client.py:2: imports msgspec",
    ),
    (
        bench_for_its_command_alone,
        {
            "app/commands/bench.py": '"""B."""\nfrom bench import run',
            "app/cli.py": '"""C."""\nfrom bench.run import run',
        },
        "app/cli.py:2: imports bench.run.run",
    ),
    (bad_docstrings, {"model/text/words.py": "import re"}, "model/text/words.py: has no docstring"),
    (
        bad_docstrings,
        {"model/text/__init__.py": '"""D."""\nfrom model.text import words'},
        "model/text/__init__.py:2: a package file holds its docstring, nothing else",
    ),
    (
        folders_without_package_file,
        {"model/text/deep/file.py": '"""F."""'},
        "model/text/deep: has modules and no __init__.py",
    ),
]


@pytest.mark.parametrize(("rule", "files", "message"), BREAKS)
def test_a_broken_rule_is_found(tmp_path: Path, rule, files: dict[str, str], message: str) -> None:
    found = list(rule(plant(tmp_path, files)))
    assert len(found) == 1
    assert found[0].startswith(message)
