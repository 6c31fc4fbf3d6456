"""Draws the folders of app/ and model/ and which imports which, from the imports themselves; prints Mermaid.

`python docs/architecture.py` gives the picture of docs/architecture.md, and a test compares the two. An arrow that
others imply is left out. Judges nothing: which imports are allowed is in tests/test_floors.py.
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
Edges = dict[str, set[str]]


def folder_of(parts: tuple[str, ...]) -> str:
    """The folder below app/ or model/, or a file at their top: ("app", "http", "auth", "keys") → app.http"""
    return ".".join(parts[:2])


def imports(file: Path) -> set[tuple[str, ...]]:
    """Dotted names of our own that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        names = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        if isinstance(node, ast.ImportFrom) and node.module in ("app", "model"):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        found |= {tuple(name.split(".")) for name in names}
    return {name for name in found if name[0] in ("app", "model") and len(name) > 1}


def edges() -> Edges:
    """Folder → the folders that its files import."""
    found: Edges = {}
    for top in ("app", "model"):
        for file in sorted((ROOT / top).rglob("*.py")):
            parts = file.relative_to(ROOT).with_suffix("").parts
            if len(parts) > 2 or parts[1] != "__init__":
                targets = {folder_of(name) for name in imports(file)}
                found.setdefault(folder_of(parts), set()).update(targets - {folder_of(parts)})
    return found


def below(graph: Edges, folder: str) -> set[str]:
    """All folders that one reaches."""
    reached: set[str] = set()
    waiting = [folder]
    while waiting:
        new = graph.get(waiting.pop(), set()) - reached
        reached |= new
        waiting += new
    return reached


def drawn(graph: Edges) -> str:
    """The picture: a box for app and one for model, arrows from importer to imported."""
    lines = ["flowchart TD"]
    for top in ("app", "model"):
        folders = sorted(folder for folder in graph if folder.startswith(f"{top}."))
        lines += [f"  subgraph {top}", *(f"    {folder}[{folder.split('.')[1]}]" for folder in folders), "  end"]
    for folder, targets in sorted(graph.items()):
        implied = {far for near in targets for far in below(graph, near) if near not in below(graph, far)}
        lines += [f"  {folder} --> {target}" for target in sorted(targets - implied)]
    return "\n".join(lines)


if __name__ == "__main__":
    print(drawn(edges()))
