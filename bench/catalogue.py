"""A model folder of as many entities as one likes, made out of a trained one: for measuring size, never quality.

Entity i is a film of the trained model with its vectors jittered; words, statistics and name are those of that film.
Ids are `c0…`. Weights, vocabulary, imputation and calibration are taken over, the id embedding is cut down to the
learned null. Records made anew by the entity tower are therefore not those of the table, and there are no golden
requests to compare with. `unirank bench catalogue` runs it.
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
from model.events.engagement import Engagement
from model.network.ranker import Ranker, Sizes

JITTER = 0.3  # of the root mean square of a vector, in each place
CHUNK = 20_000  # entities made at once
_IDS = "entity_tower.id.weight"
Report = Callable[[int, int, str], None]
Ints = NDArray[np.int64]


def make(model: Path, out: Path, entities: int, seed: int = 0, report: Report = lambda *_: None) -> Manifest:
    """Write the folder `out`; the first entities are the films of `model` in their order, the others drawn."""
    found = read(model)
    rng = np.random.default_rng(seed)
    held = len(found.records)
    sources = np.concatenate([np.arange(min(entities, held)), rng.integers(0, held, max(0, entities - held))])
    records = _records(found.records, sources, rng, report)
    report(entities, entities, "writing")
    return write(out, _contents(found, records, sources), f"made-{entities}")


def _records(table: RecordTable, sources: Ints, rng: np.random.Generator, report: Report) -> RecordTable:
    parts = []
    for start, end in chunks(len(sources), CHUNK):
        parts.append(RecordTable.of(_jittered(table.take(sources[start:end]), rng)))
        report(end, len(sources), "records")
    return RecordTable.joined(parts)


def _jittered(records: Records, rng: np.random.Generator) -> Records:
    engagement = _near(records.engagement, rng)
    inverse = 1.0 / np.maximum(1.0 - (engagement**2).sum(1), 0.05)
    return replace(
        records,
        vector=_near(records.vector, rng),
        text=_near(records.text, rng),
        engagement=engagement,
        inverse=inverse.astype(np.float32),
    )


def _near(vectors: Floats, rng: np.random.Generator) -> Floats:
    """Vectors close by, at the precision of a record; a vector of zeros stays one. [C, D]"""
    size = np.sqrt((vectors**2).mean(1, keepdims=True))
    moved = vectors + JITTER * size * rng.standard_normal(vectors.shape, np.float32)
    rounded: Floats = moved.astype(np.float16).astype(np.float32)
    return rounded


def _contents(found: ArtefactContents, records: RecordTable, sources: Ints) -> ArtefactContents:
    sizes = replace(found.manifest.sizes, entities=0)
    return replace(
        found,
        manifest=replace(found.manifest, sizes=sizes, dataset={"name": f"made of {found.manifest.version}"}),
        ranker=_without_ids(found.ranker, replace(found.ranker.sizes, entities=0)),
        entities=_entities(found, sources),
        engagement=Engagement(records.engagement.astype(np.float32), records.inverse, records.popularity),
        records=records,
        histories=_histories(found, len(sources)),
        seen=found.seen.below(len(sources)),
        golden=[],
    )


def _without_ids(ranker: Ranker, sizes: Sizes) -> Ranker:
    """The same network whose entities all have the learned null for an id."""
    weights = ranker.state_dict()
    smaller = Ranker(ranker.config, sizes)
    smaller.load_state_dict({**weights, _IDS: weights[_IDS][:1]})
    return smaller.eval()


def _entities(found: ArtefactContents, sources: Ints) -> list[dict[str, object]]:
    """Name and numbers of the film behind each, under an id of its own."""
    kept = ["display_name", *(name for name, kind in found.manifest.columns.items() if kind == "number")]
    films = [{name: film[name] for name in kept if name in film} for film in found.entities]
    return [{"entity_id": f"c{row}", **films[source]} for row, source in enumerate(sources.tolist())]


def _histories(found: ArtefactContents, entities: int) -> dict[str, tuple[HistoryEvent, ...]]:
    """The same histories over the films that are left, by their new ids."""
    ids = {str(film["entity_id"]): f"c{row}" for row, film in enumerate(found.entities[:entities])}
    return {
        user: tuple(replace(event, entity_id=ids[event.entity_id]) for event in events if event.entity_id in ids)
        for user, events in found.histories.items()
    }
