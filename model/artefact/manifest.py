"""`manifest.json` of a model folder: its content, conversion to and from JSON, and the checksums that name a version.

It lists every file of the folder with its sha256. `writing.py` and `reading.py` handle the files themselves.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from model.artefact import lookups
from model.catalogue.numbers import NumberColumn
from model.config import Config
from model.context.imputation import Rules, rules_from_json, rules_to_json
from model.learning.calibration import Calibration
from model.network.ranker import Sizes

FORMAT = 8
MANIFEST = "manifest.json"
FILES = (
    "weights.safetensors", "entities.parquet", "records.safetensors", lookups.CATALOGUE,
    "features.safetensors", "histories.parquet", "golden.json",
)  # fmt: skip
DENSE = (lookups.EXACT, lookups.APPROXIMATE)  # a folder holds one of them


class ArtefactError(ValueError):
    """The model folder cannot be used. The message is one line."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of `manifest.json`."""

    version: str
    checksum: str
    tasks: list[str]
    columns: dict[str, str]
    rules: Rules
    config: Config
    sizes: Sizes
    numbers: list[NumberColumn]
    calibration: Calibration
    proposals: dict[str, dict[str, float]]  # task → retriever → its share of the proposals
    metrics: dict[str, Any]
    dataset: dict[str, Any]
    files: dict[str, str]


def read_manifest(path: Path) -> Manifest:
    """Read only `manifest.json`. Raises `ArtefactError`."""
    try:
        table = json.loads((path / MANIFEST).read_text())
    except FileNotFoundError as error:
        raise ArtefactError(f"{path} is not a model: {MANIFEST} is missing") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ArtefactError(f"{path}/{MANIFEST}: {error}") from error
    try:
        return _manifest(table)
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise ArtefactError(f"{path}/{MANIFEST}: {type(error).__name__}: {error}") from error


def _manifest(table: Mapping[str, Any]) -> Manifest:
    if not isinstance(table, dict):
        raise TypeError("expected an object")
    if table.get("format") != FORMAT:
        raise KeyError(f"format {table.get('format')!r}: this release reads format {FORMAT}")
    if set(table["files"]) not in [{*FILES, dense} for dense in DENSE]:
        raise KeyError(f"files: expected {', '.join(FILES)} and {' or '.join(DENSE)}")
    _check_types(
        table,
        {
            "tasks": list,
            "columns": dict,
            "imputation": dict,
            "calibration": dict,
            "metrics": dict,
            "numbers": list,
            "proposals": dict,
        },
    )
    return Manifest(
        version=table["version"],
        checksum=table["checksum"],
        tasks=table["tasks"],
        columns=table["columns"],
        rules=rules_from_json(table["imputation"]),
        config=Config.from_json(table["config"]),
        sizes=Sizes(**table["sizes"]),
        numbers=[NumberColumn(**column) for column in table["numbers"]],
        calibration=Calibration.from_json(table["calibration"]),
        proposals=_proposals(table["proposals"]),
        metrics=table["metrics"],
        dataset=table["dataset"],
        files=table["files"],
    )


def _proposals(table: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    shares = {task: {name: float(share) for name, share in entry.items()} for task, entry in table.items()}
    if not all(isfinite(share) and share >= 0 for entry in shares.values() for share in entry.values()):
        raise ValueError("proposals: expected shares from 0 on")
    return shares


def _check_types(table: Mapping[str, Any], kinds: Mapping[str, type]) -> None:
    for name, kind in kinds.items():
        if not isinstance(table[name], kind):
            raise TypeError(f"{name}: expected a {kind.__name__}, got {table[name]!r}")


def manifest_json(manifest: Manifest) -> dict[str, Any]:
    """Plain values for the file; the inverse of `read_manifest`."""
    return {
        "format": FORMAT,
        "version": manifest.version,
        "checksum": manifest.checksum,
        "tasks": manifest.tasks,
        "columns": manifest.columns,
        "imputation": rules_to_json(manifest.rules),
        "config": manifest.config.to_json(),
        "sizes": asdict(manifest.sizes),
        "numbers": [asdict(column) for column in manifest.numbers],
        "calibration": manifest.calibration.to_json(),
        "proposals": manifest.proposals,
        "metrics": manifest.metrics,
        "dataset": manifest.dataset,
        "files": manifest.files,
    }


def checksum_of(files: Mapping[str, str]) -> str:
    """One checksum over the sha256 of all files."""
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def sha256_of(path: Path) -> str:
    """sha256 of one file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
