"""A model folder on disk: writing it whole, reading it with every check. The loaded object is in `artefact.py`.

`manifest.json` names a sha256 of each file; nothing is unpickled. A folder appears under its name only when it is
complete and on disk; an older one stays whole until then.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import save_file

from model.artefact import lookups
from model.artefact.lookups import Lookups
from model.catalogue.categories import Categories
from model.catalogue.encoding import EntityEncoder
from model.catalogue.numbers import NumberColumn
from model.catalogue.record_table import RecordTable
from model.catalogue.records import RecordLayout
from model.config import Config
from model.context.context import HistoryEvent
from model.context.imputation import Rules, rules_from_json, rules_to_json
from model.datasets.whole_folder import folder_written_whole
from model.events.engagement import Engagement
from model.events.seen import SeenEntities
from model.learning.calibration import Calibration
from model.network.ranker import Ranker, Sizes
from model.retrieval.approximate import ApproximateIndex
from model.retrieval.exact import DenseIndex
from model.text.latent import TextVectors
from model.text.vocabulary import Vocabulary

FORMAT = 5
MANIFEST = "manifest.json"
FILES = (
    "weights.safetensors", "entities.parquet", "records.safetensors", lookups.CATALOGUE,
    "features.safetensors", "histories.parquet", "golden.json",
)  # fmt: skip
BY_ID = ("entity_tower.id.weight",)  # weights that grow with the catalogue: they stay in the mapped file
DENSE = (lookups.EXACT, lookups.APPROXIMATE)  # one of them is there


class ArtefactError(ValueError):
    """A model folder that cannot be used. The message is one line."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What `manifest.json` says."""

    version: str
    checksum: str
    tasks: list[str]
    columns: dict[str, str]
    rules: Rules
    config: Config
    sizes: Sizes
    numbers: list[NumberColumn]
    calibration: Calibration
    metrics: dict[str, Any]
    dataset: dict[str, Any]
    files: dict[str, str]


@dataclass(slots=True)
class Contents:
    """The parts of one artefact, before anything is built from them."""

    manifest: Manifest
    ranker: Ranker
    encoder: EntityEncoder
    entities: Sequence[dict[str, object]]
    engagement: Engagement
    records: RecordTable
    layout: RecordLayout
    users: list[str]
    countries: list[str]
    tastes: NDArray[np.float32]  # [countries, Dz] what is liked there, as a profile of co-engagement
    histories: dict[str, tuple[HistoryEvent, ...]]  # the newest events of each user, as the network reads them
    seen: SeenEntities  # all that each user has met
    calibration: Calibration
    golden: list[dict[str, Any]]
    lookups: Lookups | None = None  # there once they were read from a folder; writing makes them anew


def refuse_foreign(out: Path) -> None:
    """Raise `ArtefactError` where `out` is a non-empty folder that is not a model: it must not be overwritten."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())) and not _is_model(out):
        raise ArtefactError(f"{out} exists, is not empty and is not a model: choose another folder")


def _is_model(folder: Path) -> bool:
    try:
        read_manifest(folder)
    except ArtefactError:
        return False
    return True


def layout_of(config: Config, encoder: EntityEncoder) -> RecordLayout:
    """Widths of the records of a network over a catalogue."""
    network = config.network
    return RecordLayout(network.width, network.text_width, network.engagement_width, len(encoder.static_names))


# ---- writing ------------------------------------------------------------------------------------------------


def write(out: Path, contents: Contents, name: str) -> Manifest:
    """Write a model folder, replacing an older model of the same name. Returns the manifest with its version."""
    refuse_foreign(out)
    return _replaced(out, lambda building: _write_files(building, contents), contents.manifest, name)


def rewrite(folder: Path, manifest: Manifest, dense: DenseIndex | ApproximateIndex) -> Manifest:
    """Write a model folder again with another index; the other files stay. Returns the new manifest."""

    def fill(building: Path) -> None:
        for file in FILES:
            shutil.copyfile(folder / file, building / file)
        lookups.write_dense(building, dense)

    return _replaced(folder, fill, manifest, manifest.version.removesuffix(f"-{manifest.checksum[:12]}"))


def _replaced(out: Path, fill: Callable[[Path], None], manifest: Manifest, name: str) -> Manifest:
    """A folder that is filled beside its place, sealed, and put there. Raises `ArtefactError` or OSError, one line."""
    with _in_words(out), folder_written_whole(out) as building:
        fill(building)
        sealed = _sealed(building, manifest, name)
        (building / MANIFEST).write_text(json.dumps(_manifest_json(sealed), indent=1))
    return sealed


@contextmanager
def _in_words(out: Path) -> Iterator[None]:
    """What a full disk makes of other libraries, as one line."""
    try:
        yield
    except (SafetensorError, pl.exceptions.PolarsError, RuntimeError) as error:  # faiss raises the last
        said = " ".join(str(error).split())
        raise ArtefactError(f"{out} could not be written and is as it was before: {said}") from error


def _write_files(folder: Path, contents: Contents) -> None:
    weights = {key: value.cpu().numpy() for key, value in contents.ranker.state_dict().items()}
    save_file(weights, folder / "weights.safetensors")
    table = _entity_table(contents.entities, contents.manifest.columns)
    table.write_parquet(folder / "entities.parquet")
    entities = [_present(row) for row in table.iter_rows(named=True)]
    save_file(contents.records.arrays(), folder / "records.safetensors")
    lookups.write(folder, lookups.made(entities, contents.records, contents.encoder.vocabulary))
    save_file(_features(contents), folder / "features.safetensors")
    _history_table(contents.histories).write_parquet(folder / "histories.parquet")
    (folder / "golden.json").write_text(json.dumps(contents.golden, indent=1))


def _features(contents: Contents) -> dict[str, NDArray[Any]]:
    encoder = contents.encoder
    return {
        "vocabulary": _texts(encoder.vocabulary.entries),
        "idf": encoder.vocabulary.idf,
        "text_table": encoder.vectors.table,
        "categories": _texts(encoder.categories.keys),
        "users": _texts(contents.users),
        "countries": _texts(contents.countries),
        "tastes": contents.tastes,
        **contents.seen.arrays(),
    }


def _texts(values: Sequence[str]) -> NDArray[np.uint8]:
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


def _sealed(folder: Path, manifest: Manifest, name: str) -> Manifest:
    files = {file: _sha256(folder / file) for file in (*FILES, *DENSE) if (folder / file).is_file()}
    checksum = _checksum(files)
    values = {key: getattr(manifest, key) for key in Manifest.__slots__}
    return Manifest(**values | {"files": files, "checksum": checksum, "version": f"{name}-{checksum[:12]}"})


def _checksum(files: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _manifest_json(manifest: Manifest) -> dict[str, Any]:
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
        "metrics": manifest.metrics,
        "dataset": manifest.dataset,
        "files": manifest.files,
    }


# ---- reading ------------------------------------------------------------------------------------------------


def read(path: Path) -> Contents:
    """Read a model folder and check every file against the manifest. Raises `ArtefactError`."""
    manifest = read_manifest(path)
    if manifest.checksum != _checksum(manifest.files):
        raise ArtefactError(f"{path}/{MANIFEST}: the checksum is not the one of the files")
    for name, expected in manifest.files.items():
        if not (path / name).is_file():
            raise ArtefactError(f"{path}: {name} is missing")
        if _sha256(path / name) != expected:
            raise ArtefactError(f"{path}: {name} does not match the checksum in {MANIFEST}")
    try:
        return _contents(path, manifest)
    except (Exception, pl.exceptions.PanicException) as error:  # bad bytes make other libraries raise anything
        raise ArtefactError(f"{path}: {type(error).__name__}: {' '.join(str(error).split())}") from error


def read_manifest(path: Path) -> Manifest:
    """Read `manifest.json` alone. Raises `ArtefactError`."""
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
    _expect(
        table,
        {"tasks": list, "columns": dict, "imputation": dict, "calibration": dict, "metrics": dict, "numbers": list},
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
        metrics=table["metrics"],
        dataset=table["dataset"],
        files=table["files"],
    )


def _expect(table: Mapping[str, Any], kinds: Mapping[str, type]) -> None:
    for name, kind in kinds.items():
        if not isinstance(table[name], kind):
            raise TypeError(f"{name}: expected a {kind.__name__}, got {table[name]!r}")


def _contents(path: Path, manifest: Manifest) -> Contents:
    features = lookups.mapped(path / "features.safetensors")
    vocabulary = Vocabulary(_strings(features["vocabulary"]), features["idf"])
    encoder = EntityEncoder(
        manifest.columns, vocabulary, TextVectors(features["text_table"]), manifest.numbers,
        _categories(features, manifest),
    )  # fmt: skip
    records = RecordTable.from_arrays(lookups.mapped(path / "records.safetensors"))
    found = lookups.read(path, records, vocabulary, manifest.files)
    named = pl.scan_parquet(path / "entities.parquet", glob=False).select("entity_id", "display_name")
    rows = named.select(pl.len()).collect().item()
    layout = layout_of(manifest.config, encoder)
    records.check(layout)
    if not rows == len(found.directory) == len(records) >= manifest.sizes.entities:
        raise ArtefactError(f"{path}: the files hold different numbers of entities")
    countries, tastes = _strings(features["countries"]), features["tastes"]
    if tastes.shape != (len(countries), layout.engagement_width):
        raise ArtefactError(f"{path}: tastes of shape {tastes.shape} for {len(countries)} countries")
    seen = SeenEntities.from_arrays(features)
    if seen.highest_row() >= rows:
        raise ArtefactError(f"{path}: somebody has met entity {seen.highest_row()} of {rows}")
    return Contents(
        manifest, _ranker(path, manifest), encoder, found.directory.entities,
        Engagement(records.engagement, records.inverse, records.popularity), records, layout,
        _strings(features["users"]), countries, tastes,
        _histories(path), seen, manifest.calibration, json.loads((path / "golden.json").read_text()),
        found,
    )  # fmt: skip


def _categories(features: Mapping[str, NDArray[Any]], manifest: Manifest) -> Categories:
    found, rows = Categories(_strings(features["categories"])), manifest.config.network.category_buckets
    if len(found) >= max(rows, 1):
        raise ValueError(f"{len(found)} categories for an embedding of {rows} rows")
    return found


def _ranker(path: Path, manifest: Manifest) -> Ranker:
    ranker = Ranker(manifest.config.network, manifest.sizes)
    weights = {name: torch.from_numpy(value) for name, value in lookups.mapped(path / "weights.safetensors").items()}
    for name, value in weights.items():
        if not torch.isfinite(value).all():
            raise ArtefactError(f"{path}: weight {name} is not finite")
    own = {name: value if name in BY_ID else value.clone() for name, value in weights.items()}
    ranker.load_state_dict(own, assign=True)
    return ranker.eval()


def _histories(path: Path) -> dict[str, tuple[HistoryEvent, ...]]:
    result: dict[str, list[HistoryEvent]] = {}
    one: dict[object, Any] = {}  # of each value: events have few different ones, and each would take its own memory
    for user, *values, time in pl.read_parquet(path / "histories.parquet", glob=False).iter_rows():
        entity, label, task = (one.setdefault(value, value) for value in values)
        result.setdefault(user, []).append(HistoryEvent(entity, label, task, time))
    return {user: tuple(events) for user, events in result.items()}


def _present(row: Mapping[str, object]) -> dict[str, object]:
    """What an entity has, whole numbers without a point."""
    return {name: _whole(value) for name, value in row.items() if value is not None}


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _strings(packed: NDArray[np.uint8]) -> list[str]:
    return [str(value) for value in json.loads(packed.tobytes())]
