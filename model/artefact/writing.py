"""Writes a model folder atomically. `reading.py` reads it.

A folder appears under its name only when it is complete and on disk. Until then, an older one stays in place.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import save_file

from model.artefact import lookups
from model.artefact.contents import ArtefactContents
from model.artefact.manifest import (
    DENSE,
    FILES,
    MANIFEST,
    ArtefactError,
    Manifest,
    checksum_of,
    manifest_json,
    read_manifest,
    sha256_of,
)
from model.context.context import HistoryEvent
from model.datasets.atomic_writes import folder_written_atomically
from model.retrieval.approximate import ApproximateIndex
from model.retrieval.exact import DenseIndex


def refuse_foreign(out: Path) -> None:
    """Raise `ArtefactError` where `out` exists, is not empty and is not a model, since it must not be overwritten."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())) and not _is_model(out):
        raise ArtefactError(f"{out} exists, is not empty and is not a model: choose another folder")


def _is_model(folder: Path) -> bool:
    try:
        read_manifest(folder)
    except ArtefactError:
        return False
    return True


def write(out: Path, contents: ArtefactContents, name: str) -> Manifest:
    """Write a model folder, replacing an older model of the same name. Returns the manifest with its version."""
    refuse_foreign(out)
    return _write_folder(out, lambda building: _write_files(building, contents), contents.manifest, name)


def rewrite(folder: Path, manifest: Manifest, dense: DenseIndex | ApproximateIndex) -> Manifest:
    """Rewrite a model folder with another index; the other files stay the same. Returns the new manifest."""

    def fill(building: Path) -> None:
        for file in FILES:
            shutil.copyfile(folder / file, building / file)
        lookups.write_dense(building, dense)

    return _write_folder(folder, fill, manifest, manifest.version.removesuffix(f"-{manifest.checksum[:12]}"))


def _write_folder(out: Path, fill: Callable[[Path], None], manifest: Manifest, name: str) -> Manifest:
    """Fill a temporary folder beside `out`, add the manifest, then swap it in. Raises `ArtefactError` or OSError."""
    with _one_line_errors(out), folder_written_atomically(out) as building:
        fill(building)
        final = _with_checksums(building, manifest, name)
        (building / MANIFEST).write_text(json.dumps(manifest_json(final), indent=1))
    return final


@contextmanager
def _one_line_errors(out: Path) -> Iterator[None]:
    """Turn errors of other libraries, as on a full disk, into an `ArtefactError` of one line."""
    try:
        yield
    except (SafetensorError, pl.exceptions.PolarsError, RuntimeError) as error:  # faiss raises RuntimeError
        reason = " ".join(str(error).split())
        raise ArtefactError(f"{out} could not be written and is as it was before: {reason}") from error


def _write_files(folder: Path, contents: ArtefactContents) -> None:
    weights = {key: value.cpu().numpy() for key, value in contents.ranker.state_dict().items()}
    save_file(weights, folder / "weights.safetensors")
    table = _entity_table(contents.entities, contents.manifest.columns)
    table.write_parquet(folder / "entities.parquet")
    entities = [_without_nulls(row) for row in table.iter_rows(named=True)]
    save_file(contents.records.arrays(), folder / "records.safetensors")
    lookups.write(folder, lookups.build_lookups(entities, contents.records, contents.encoder))
    save_file(_features(contents), folder / "features.safetensors")
    _history_table(contents.histories).write_parquet(folder / "histories.parquet")
    (folder / "golden.json").write_text(json.dumps(contents.golden, indent=1))


def _features(contents: ArtefactContents) -> dict[str, NDArray[Any]]:
    encoder = contents.encoder
    return {
        "vocabulary": _pack_strings(encoder.vocabulary.entries),
        "idf": encoder.vocabulary.idf,
        "list_shares": encoder.vocabulary.list_shares,
        "correction_hashes": encoder.corrections.hashes,
        "correction_numbers": encoder.corrections.numbers,
        "correction_counts": encoder.corrections.log_counts,
        "text_table": encoder.vectors.table,
        "categories": _pack_strings(encoder.categories.keys),
        "users": _pack_strings(contents.users),
        "countries": _pack_strings(contents.countries),
        "tastes": contents.tastes,
        **contents.seen.arrays(),
    }


def _pack_strings(values: Sequence[str]) -> NDArray[np.uint8]:
    return np.frombuffer(json.dumps(list(values)).encode(), np.uint8)


def _entity_table(entities: Sequence[Mapping[str, object]], columns: Mapping[str, str]) -> pl.DataFrame:
    kinds = {"text": pl.String(), "categories": pl.List(pl.String), "number": pl.Float64()}
    schema: dict[str, Any] = {"entity_id": pl.String(), "display_name": pl.String()}
    schema |= {name: kinds[kind] for name, kind in columns.items() if kind in kinds}
    rows = [{name: entity.get(name) for name in schema} for entity in entities]
    return pl.DataFrame(rows, schema=schema, strict=False)


def _history_table(histories: Mapping[str, Sequence[HistoryEvent]]) -> pl.DataFrame:
    rows = [
        (user, event.entity_id, event.label, event.task, event.timestamp)
        for user, events in sorted(histories.items())
        for event in events
    ]
    schema = {
        "user_id": pl.String,
        "entity_id": pl.String,
        "label": pl.Float64,
        "task": pl.String,
        "timestamp": pl.Int64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def _with_checksums(folder: Path, manifest: Manifest, name: str) -> Manifest:
    files = {file: sha256_of(folder / file) for file in (*FILES, *DENSE) if (folder / file).is_file()}
    checksum = checksum_of(files)
    return replace(manifest, files=files, checksum=checksum, version=f"{name}-{checksum[:12]}")


def _without_nulls(row: Mapping[str, object]) -> dict[str, object]:
    """The attributes that are not null; whole floats become integers."""
    return {name: _integer_if_whole(value) for name, value in row.items() if value is not None}


def _integer_if_whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value
