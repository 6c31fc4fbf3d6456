"""Reads a model folder and checks files, checksums, shapes and finite weights. Unpickles nothing.

`check.py` compares scores with those at training time; the loaded object is in `model.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from model.artefact import lookups
from model.artefact.contents import ArtefactContents, layout_of
from model.artefact.manifest import MANIFEST, ArtefactError, Manifest, checksum_of, read_manifest, sha256_of
from model.catalogue.categories import Categories
from model.catalogue.encoding import EntityEncoder
from model.catalogue.record_table import RecordTable
from model.context.context import HistoryEvent
from model.events.seen import SeenEntities
from model.network.ranker import Ranker
from model.text.corrections import Corrections
from model.text.latent import TextVectors
from model.text.vocabulary import Vocabulary

Arrays = Mapping[str, NDArray[Any]]
BY_ID = ("entity_tower.id.weight",)  # weights that grow with the catalogue stay in the mapped file


def read(path: Path) -> ArtefactContents:
    """Read a model folder and check every file against the manifest. Raises `ArtefactError`."""
    manifest = read_manifest(path)
    if manifest.checksum != checksum_of(manifest.files):
        raise ArtefactError(f"{path}/{MANIFEST}: the checksum is not the one of the files")
    for name, expected in manifest.files.items():
        if not (path / name).is_file():
            raise ArtefactError(f"{path}: {name} is missing")
        if sha256_of(path / name) != expected:
            raise ArtefactError(f"{path}: {name} does not match the checksum in {MANIFEST}")
    try:
        return _contents(path, manifest)
    except (Exception, pl.exceptions.PanicException) as error:  # on corrupt files, libraries raise any exception
        raise ArtefactError(f"{path}: {type(error).__name__}: {' '.join(str(error).split())}") from error


def _contents(path: Path, manifest: Manifest) -> ArtefactContents:
    features = lookups.map_lookups(path / "features.safetensors")
    encoder = _encoder(features, manifest)
    records = RecordTable.from_arrays(lookups.map_lookups(path / "records.safetensors"))
    loaded = lookups.read(path, records, encoder.vocabulary, manifest.files)
    layout = layout_of(manifest.config, encoder)
    records.check(layout)
    _check_entities(path, manifest, len(loaded.directory), len(records))
    countries, tastes = _tastes(path, features, layout.engagement_width)
    return ArtefactContents(
        manifest, _ranker(path, manifest), encoder, loaded.directory.entities,
        records.outcomes(), records, layout,
        _strings(features["users"]), countries, tastes,
        _histories(path), _seen(path, features, len(records)), manifest.calibration,
        json.loads((path / "golden.json").read_text()), loaded,
    )  # fmt: skip


def _encoder(features: Arrays, manifest: Manifest) -> EntityEncoder:
    vocabulary = Vocabulary(_strings(features["vocabulary"]), features["idf"], features["list_shares"])
    vectors = TextVectors(features["text_table"])
    corrections = _corrections(features, len(vocabulary))
    categories = _categories(features, manifest)
    return EntityEncoder(manifest.columns, vocabulary, vectors, manifest.numbers, categories, corrections)


def _corrections(features: Arrays, words: int) -> Corrections:
    hashes, numbers, counts = (features[f"correction_{name}"] for name in ("hashes", "numbers", "counts"))
    if hashes.shape != numbers.shape or counts.shape != (words,) or (len(numbers) and numbers.max() >= words):
        raise ValueError(f"corrections of shapes {hashes.shape}, {numbers.shape}, {counts.shape} for {words} words")
    return Corrections(hashes, numbers, counts)


def _check_entities(path: Path, manifest: Manifest, entities: int, records: int) -> None:
    named = pl.scan_parquet(path / "entities.parquet", glob=False).select("entity_id", "display_name")
    rows = named.select(pl.len()).collect().item()
    if not rows == entities == records >= manifest.sizes.entities:
        raise ArtefactError(f"{path}: the files hold different numbers of entities")


def _tastes(path: Path, features: Arrays, width: int) -> tuple[list[str], NDArray[np.float32]]:
    countries, tastes = _strings(features["countries"]), features["tastes"]
    if tastes.shape != (len(countries), width):
        raise ArtefactError(f"{path}: tastes of shape {tastes.shape} for {len(countries)} countries")
    return countries, tastes


def _seen(path: Path, features: Arrays, rows: int) -> SeenEntities:
    seen = SeenEntities.from_arrays(features)
    if seen.highest_row() >= rows:
        raise ArtefactError(f"{path}: a user has seen entity {seen.highest_row()} of {rows}")
    return seen


def _categories(features: Arrays, manifest: Manifest) -> Categories:
    categories, rows = Categories(_strings(features["categories"])), manifest.config.network.category_buckets
    if len(categories) >= max(rows, 1):
        raise ValueError(f"{len(categories)} categories for an embedding of {rows} rows")
    return categories


def _ranker(path: Path, manifest: Manifest) -> Ranker:
    ranker = Ranker(manifest.config.network, manifest.sizes)
    weights = {
        name: torch.from_numpy(value) for name, value in lookups.map_lookups(path / "weights.safetensors").items()
    }
    for name, value in weights.items():
        if not torch.isfinite(value).all():
            raise ArtefactError(f"{path}: weight {name} is not finite")
    state = {name: value if name in BY_ID else value.clone() for name, value in weights.items()}
    ranker.load_state_dict(state, assign=True)
    return ranker.eval()


def _histories(path: Path) -> dict[str, tuple[HistoryEvent, ...]]:
    result: dict[str, list[HistoryEvent]] = {}
    interned: dict[object, Any] = {}  # one object per distinct value saves memory: events have few distinct values
    for user, *values, time in pl.read_parquet(path / "histories.parquet", glob=False).iter_rows():
        entity, label, task = (interned.setdefault(value, value) for value in values)
        result.setdefault(user, []).append(HistoryEvent(entity, label, task, time))
    return {user: tuple(events) for user, events in result.items()}


def _strings(packed: NDArray[np.uint8]) -> list[str]:
    return [str(value) for value in json.loads(packed.tobytes())]
