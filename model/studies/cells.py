"""The cells of a study: one trained and evaluated model each, stored under a hash of everything that determines it.

An interrupted study continues with the missing cells. The result of a cell is plain JSON, compressed with gzip.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.datasets.atomic_writes import write_file_atomically

PROTOCOL = 2  # increase it when the same settings would give other results
Result = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cell:
    """A model by name, with everything that its results depend on; `run` computes them."""

    name: str
    settings: Mapping[str, Any]
    expected_seconds: float
    run: Callable[[], Result]

    def key(self, dataset: str) -> str:
        """A hash of name, settings and dataset."""
        identity = {"protocol": PROTOCOL, "dataset": dataset, "name": self.name, "settings": self.settings}
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


class CellStore:
    """A folder of finished cells."""

    def __init__(self, folder: Path, dataset: str) -> None:
        self.folder = folder
        self.dataset = dataset

    def find(self, cell: Cell) -> Result | None:
        """The result of a finished cell, else None."""
        try:
            result: Result = json.loads(gzip.decompress(self._path(cell).read_bytes()))
        except (OSError, EOFError, ValueError, zlib.error):
            return None
        return result

    def get(self, cell: Cell) -> Result:
        """The result of a cell, from disk or by running it now."""
        stored = self.find(cell)
        if stored is not None:
            return stored
        started = time.perf_counter()
        result = {"name": cell.name, "settings": dict(cell.settings), **cell.run()}
        result["seconds"] = round(time.perf_counter() - started, 1)
        write_file_atomically(self._path(cell), gzip.compress(json.dumps(result).encode(), mtime=0))
        return result

    def missing_seconds(self, cells: Sequence[Cell]) -> float:
        """Estimated duration of the unfinished cells."""
        return sum(cell.expected_seconds for cell in cells if self.find(cell) is None)

    def _path(self, cell: Cell) -> Path:
        return self.folder / f"{cell.name.replace(' ', '-')}-{cell.key(self.dataset)}.json.gz"


def fingerprint(folder: Path) -> str:
    """A hash of the files of a dataset folder."""
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.is_file() and file.name != "rejected.jsonl":
            digest.update(file.name.encode())
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:16]
