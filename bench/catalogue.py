"""Makes a model folder of any number of entities from a trained one, to measure the cost of size, never quality.

Entity i is a film of the trained model with jittered vectors; words, statistics and name are those of the film. Ids
are `c0…`. Weights, vocabulary, imputation and calibration are copied; the id embedding is reduced to the learned null.
Therefore the entity tower does not reproduce the records of the table, and there are no golden requests to compare
with. `unirank bench catalogue` runs it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.artefact.contents import ArtefactContents
from model.artefact.manifest import Manifest
from model.artefact.reading import read
from model.artefact.writing import write
from model.catalogue.encoding import chunks
from model.catalogue.record_table import RecordTable
from model.catalogue.records import Floats, Records
from model.context.context import HistoryEvent
from model.network.ranker import Ranker, Sizes

JITTER = 0.3  # share of the root mean square of a vector, per dimension
CHUNK = 20_000  # entities of one chunk
_IDS = "entity_tower.id.weight"
Report = Callable[[int, int, str], None]
Ints = NDArray[np.int64]


def make(model: Path, out: Path, entities: int, seed: int = 0, report: Report = lambda *_: None) -> Manifest:
    """Write the folder `out`; the first entities are the films of `model` in their order, the others are drawn."""
    source = read(model)
    rng = np.random.default_rng(seed)
    film_count = len(source.records)
    sources = np.concatenate(
        [np.arange(min(entities, film_count)), rng.integers(0, film_count, max(0, entities - film_count))]
    )
    records = _records(source.records, sources, rng, report)
    report(entities, entities, "writing")
    return write(out, _contents(source, records, sources), f"made-{entities}")


def _records(table: RecordTable, sources: Ints, rng: np.random.Generator, report: Report) -> RecordTable:
    parts = []
    for start, end in chunks(len(sources), CHUNK):
        jittered = _jitter_records(table.take(sources[start:end]), rng)
        parts.append(RecordTable.of(replace(jittered, row=np.arange(start, end, dtype=np.int32))))
        report(end, len(sources), "records")
    return RecordTable.joined(parts)


def _jitter_records(records: Records, rng: np.random.Generator) -> Records:
    engagement = _jitter(records.engagement, rng)
    inverse = 1.0 / np.maximum(1.0 - (engagement**2).sum(1), 0.05)
    return replace(
        records,
        vector=_jitter(records.vector, rng),
        text=_jitter(records.text, rng),
        engagement=engagement,
        inverse=inverse.astype(np.float32),
    )


def _jitter(vectors: Floats, rng: np.random.Generator) -> Floats:
    """Jittered vectors, at the precision of a record; zero vectors stay zero. [C, D]"""
    size = np.sqrt((vectors**2).mean(1, keepdims=True))
    moved = vectors + JITTER * size * rng.standard_normal(vectors.shape, np.float32)
    rounded: Floats = moved.astype(np.float16).astype(np.float32)
    return rounded


def _contents(source: ArtefactContents, records: RecordTable, sources: Ints) -> ArtefactContents:
    sizes = replace(source.manifest.sizes, entities=0)
    return replace(
        source,
        manifest=replace(source.manifest, sizes=sizes, dataset={"name": f"made of {source.manifest.version}"}),
        ranker=_without_ids(source.ranker, replace(source.ranker.sizes, entities=0)),
        entities=_entities(source, sources),
        engagement=records.outcomes(),
        records=records,
        histories=_histories(source, len(sources)),
        seen=source.seen.below(len(sources)),
        golden=[],
    )


def _without_ids(ranker: Ranker, sizes: Sizes) -> Ranker:
    """The same network, with the learned null as the id embedding of all entities."""
    weights = ranker.state_dict()
    smaller = Ranker(ranker.config, sizes)
    smaller.load_state_dict({**weights, _IDS: weights[_IDS][:1]})
    return smaller.eval()


def _entities(found: ArtefactContents, sources: Ints) -> list[dict[str, object]]:
    """The name and numeric attributes of each entity's film, with a new id."""
    kept = ["display_name", *(name for name, kind in found.manifest.columns.items() if kind == "number")]
    films = [{name: film[name] for name in kept if name in film} for film in found.entities]
    return [{"entity_id": f"c{row}", **films[source]} for row, source in enumerate(sources.tolist())]


def _histories(source: ArtefactContents, entities: int) -> dict[str, tuple[HistoryEvent, ...]]:
    """The same histories with new ids, without films that are left out."""
    ids = {str(film["entity_id"]): f"c{row}" for row, film in enumerate(source.entities[:entities])}
    return {
        user: tuple(replace(event, entity_id=ids[event.entity_id]) for event in events if event.entity_id in ids)
        for user, events in source.histories.items()
    }
