"""The modules of the project, read from their source files, and what each of them imports. Judges nothing."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Module:
    """One source file: `path` from the root with slashes, `name` with dots, and its syntax tree."""

    path: str
    name: str
    tree: ast.Module

    @property
    def is_package(self) -> bool:
        """Whether this is an `__init__` file."""
        return self.path.endswith("/__init__.py")


def read_modules(root: Path) -> dict[str, Module]:
    """All modules under app/, model/ and bench/ by dotted name."""
    found = {}
    for top in ("app", "bench", "model"):
        for file in sorted((root / top).rglob("*.py")):
            path = file.relative_to(root).as_posix()
            name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            found[name] = Module(path, name, ast.parse(file.read_text(encoding="utf-8"), path))
    return found


def imported_names(module: Module) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of everything imported, `from a import b` being `a.b`."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(module, node)
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def _absolute(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parents = module.name.split(".")
    up = node.level - module.is_package
    return ".".join([*parents[: len(parents) - up], *([node.module] if node.module else [])])


def own_imports(module: Module, modules: dict[str, Module]) -> Iterator[tuple[int, Module]]:
    """Line and module of the project's own imports: `a.b` is the module a.b or, where there is none, a."""
    for line, name in imported_names(module):
        target = modules.get(name) or modules.get(name.rpartition(".")[0])
        if target is not None and target.name != module.name:
            yield line, target
