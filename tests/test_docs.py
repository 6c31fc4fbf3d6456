"""The documents and docstrings agree with the code: settings, tree, commands, files, links. Shell blocks are run."""

from __future__ import annotations

import ast
import io
import os
import re
import subprocess
import sys
import tokenize
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest
from typer import Typer

from app.settings import settings_table

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def shell_blocks(text: str) -> list[str]:
    """The ```bash blocks of a document, less those that only call make."""
    blocks = re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [block for block in blocks if "unirank " in block]


RUN = [(path, block) for path in DOCUMENTS for block in shell_blocks(path.read_text(encoding="utf-8"))]


@pytest.mark.parametrize(("path", "block"), RUN, ids=[f"{path.name}-{n}" for n, (path, _) in enumerate(RUN)])
def test_shell_blocks_run(path: Path, block: str, tmp_path: Path) -> None:
    """Every block runs in an empty folder, and no command in it fails."""
    (tmp_path / "unirank").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m app.cli "$@"\n')
    (tmp_path / "unirank").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    work = tmp_path / "work"
    work.mkdir()
    ended = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, f"{path.name}: {ended.stderr[-2000:]}"


def test_there_are_blocks_to_run() -> None:
    assert len(RUN) >= 2


def test_the_settings_table_is_the_one_that_the_code_writes() -> None:
    """The settings table is the one that the code writes."""
    match = re.search(r"<!-- settings -->\n(.*?)<!-- /settings -->", README, re.DOTALL)
    assert match is not None
    assert match.group(1).strip() == settings_table().strip()


def test_paths_of_the_tree_exist() -> None:
    """Each name in the tree of the README is there, below the folder that it is indented under."""
    paths = tree_paths()
    assert len(paths) > 50
    assert [str(path) for path in paths if not (ROOT / path).exists()] == []


def test_the_tree_names_each_folder() -> None:
    """Folders at the top of `app/` and `model/` are all in the tree of the README."""
    on_disk = {path.parent.relative_to(ROOT) for top in ("app", "model") for path in ROOT.glob(f"{top}/*/__init__.py")}
    assert on_disk - set(tree_paths()) == set()


def test_the_tree_answers_a_newcomer() -> None:
    """Where are bodies parsed, candidates capped, a hanging Redis left alone, where is log-Q, what is retrieved?"""
    answers = (
        "app/api/v1/requests.py",
        "app/ranking/candidates.py",
        "model/retrieval/retrievers.py",
        "app/ranking/rules/",
        "app/entities/circuit_breaker.py",
        "app/entities/redis.py",
    )
    assert {Path(answer) for answer in (*answers, "model/learning/losses.py")} <= set(tree_paths())


def tree_paths() -> list[Path]:
    """Paths in the tree of the README. A line is two blanks a level, names divided by commas, then a phrase."""
    match = re.search(r"## Layout\n\n```text\n(.*?)```", README, re.DOTALL)
    assert match is not None
    folders, paths = [Path()], []
    for line in match.group(1).splitlines():
        parts = re.fullmatch(r"((?:  )*)(\S+(?:, \S+)*)  +\S.*", line)
        assert parts is not None, line
        level = len(parts[1]) // 2
        named = [folders[level] / name for name in parts[2].split(", ")]
        folders[level + 1 :] = named[:1]
        paths += named
    return paths


def test_commands_in_the_documents_exist() -> None:
    """`unirank word` in any document is a command."""
    from app.cli import app

    groups = {group.name: _names(group.typer_instance) for group in app.registered_groups if group.typer_instance}
    assert {"data", "study"} <= set(groups)
    for path in DOCUMENTS:
        for first, second in re.findall(
            r"^\s*unirank (\w+)(?: (\w+))?", path.read_text(encoding="utf-8"), re.MULTILINE
        ):
            assert first in _names(app) | set(groups), f"{path.name}: unirank {first}"
            assert first not in groups or second in groups[first], f"{path.name}: unirank {first} {second}"


def _names(app: Typer) -> set[str]:
    """Commands of a typer app."""
    found = (command.name or command.callback.__name__ for command in app.registered_commands if command.callback)
    return {name.strip("_") for name in found}


def test_links_point_at_existing_files() -> None:
    """Relative links of the documents point at files."""
    for path in DOCUMENTS:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_links_to_headings_lead_somewhere() -> None:
    """The part of a link behind `#` is a heading of the document that it leads to."""
    for path in DOCUMENTS:
        for target, heading in re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", path.read_text(encoding="utf-8")):
            assert heading in _headings(path.parent / target if target else path), f"{path.name}: {target}#{heading}"


def _headings(path: Path) -> set[str]:
    """Names of the headings of a document, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}


def test_the_architecture_diagram_agrees_with_the_imports() -> None:
    """`python docs/architecture.py` prints it."""
    drawn = subprocess.run(
        [sys.executable, "docs/architecture.py"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert f"```mermaid\n{drawn}```" in (ROOT / "docs/architecture.md").read_text("utf-8")


def test_files_named_in_the_architecture_exist() -> None:
    """A name without a folder is in the folder of the name before it."""
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    folder, missing = Path(), []
    for name in re.findall(r"`([\w/]+\.py|(?:app|model|docs|tests)/[\w/]+)`", text.split("```")[2]):
        path = Path(name) if name.split("/")[0] in ("app", "model", "docs", "tests") else folder / name
        folder = path.parent if path.suffix else path
        missing += [] if (ROOT / path).exists() else [str(path)]
    assert missing == []


SOURCES = {
    file.relative_to(ROOT).as_posix(): file.read_text("utf-8")
    for top in ("app", "model", "bench", "tests", "docs")
    for file in (ROOT / top).rglob("*.py")
}


def texts_of(source: str) -> Iterator[str]:
    """Docstrings and comments."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


def missing_files(source: str, paths: Collection[str]) -> list[str]:
    """Names of Python files in docstrings and comments that are the end of no path."""
    named = [name for text in texts_of(source) for name in re.findall(r"[\w/]+\.py\b", text)]
    return [name for name in named if not any(f"/{path}".endswith(f"/{name}") for path in paths)]


def test_files_that_docstrings_and_comments_name_are_there() -> None:
    missing = {path: missing_files(source, SOURCES) for path, source in SOURCES.items()}
    assert {path: names for path, names in missing.items() if names} == {}


def test_a_name_of_no_file_is_found() -> None:
    source = '"""See `gone.py`, `other/kept.py`."""\ndef f():\n    """As kept.py."""\n    return 1  # in lost.py\n'
    assert missing_files(source, {"app/kept.py"}) == ["gone.py", "other/kept.py", "lost.py"]
