"""The tests keep their own rules: every file says what it promises, names are distinct, lists name real files.

Files of tests and of the code alike stay short enough to be read in one sitting.
"""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

TESTS = Path(__file__).parent
MOST_LINES = 300
FILES = sorted(TESTS.rglob("test_*.py"))


def test_every_test_file_opens_with_a_docstring() -> None:
    assert [file.name for file in FILES if not ast.get_docstring(ast.parse(file.read_text("utf-8")))] == []


def test_no_two_files_have_the_same_name() -> None:
    """Folders of tests are no packages, so that pytest imports each file by its name alone."""
    modules = [file.stem for file in [*FILES, *(TESTS / "helpers").glob("*.py")]]
    assert [name for name, count in Counter(modules).items() if count > 1] == []


def test_no_test_file_imports_another() -> None:
    names = {file.stem for file in FILES}
    found = [
        f"{file.name}: {node.module}"
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module in names
    ]
    assert found == []


def test_every_file_that_runs_alone_exists(alone_files: set[str]) -> None:
    assert alone_files - {file.name for file in FILES} == set()


def test_no_file_is_too_long_to_read_at_once() -> None:
    files = [file for top in ("app", "bench", "model", "tests") for file in (TESTS.parent / top).rglob("*.py")]
    assert len(files) > 300
    lines = {str(file.relative_to(TESTS.parent)): file.read_text("utf-8").count("\n") for file in files}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}
