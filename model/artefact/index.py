"""Gives a model folder an index by its size: approximate where measurements are good enough, else exact.

The folder is replaced atomically, with a new version. The queries come from contexts of the model's own tasks:
homepages of training users, searches for names, more-like-this for entities.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from model.artefact import lookups
from model.artefact.manifest import Manifest
from model.artefact.model import Artefact, ArtefactError
from model.artefact.writing import rewrite
from model.context.context import MORE_LIKE_THIS, SEARCH, Context
from model.network.scorer import retrieval_matrix
from model.retrieval.approximate import ApproximateIndex, build, faiss
from model.retrieval.exact import DenseIndex, Floats
from model.retrieval.tuning import IndexMeasurement, tune

_log = logging.getLogger("unirank.model")
LEAST = 50_000  # entities; below, exact search takes a millisecond, and no index is five times as fast
QUERIES = 150
Report = Callable[[int, int, str], None]


def index_large(folder: Path, manifest: Manifest, report: Report = lambda *_: None) -> Manifest:
    """Run `index` on a new folder if its catalogue is large and FAISS is installed. Returns the current manifest."""
    if manifest.sizes.entities < LEAST:
        return manifest
    if faiss() is None:
        _log.warning("%s is large and faiss-cpu is not installed: search by embedding stays exact", folder)
        return manifest
    return index(folder, report=report)[0]


def index(folder: Path, seed: int = 0, report: Report = lambda *_: None) -> tuple[Manifest, IndexMeasurement]:
    """Build and measure an approximate index, and rewrite the folder with the better index. Raises `ArtefactError`."""
    library = faiss()
    if library is None:
        raise ArtefactError("faiss-cpu is not installed: pip install 'unirank[large]'")
    artefact = Artefact.load(folder)
    total, records = artefact.entity_count, artefact.contents.records
    exact = DenseIndex(lookups.whole_matrix(records))
    approximate = build(exact.matrix, partial(retrieval_matrix, records), library, seed, report)
    measured = tune(
        approximate, exact, sample_queries(artefact, QUERIES, seed), lambda note: report(total, total, note)
    )
    return _rewrite_index(folder, artefact, approximate if measured.good else exact, measured), measured


def _rewrite_index(
    folder: Path, artefact: Artefact, dense: DenseIndex | ApproximateIndex, measured: IndexMeasurement
) -> Manifest:
    old = artefact.contents.manifest
    manifest = replace(old, metrics={**old.metrics, "retrieval": _metrics(dense, measured)})
    return rewrite(folder, manifest, dense)


def _metrics(dense: DenseIndex | ApproximateIndex, measured: IndexMeasurement) -> dict[str, Any]:
    """The chosen index and its measurement, for the manifest."""
    return {
        "index": "exact" if isinstance(dense, DenseIndex) else "approximate",
        "recall@100": round(measured.recall, 4),
        "times_exact": round(measured.times, 1),
        "lists_looked_into": measured.probes,
        "queries": measured.queries,
    }


def sample_contexts(artefact: Artefact, count: int, seed: int) -> list[Context]:
    """Random contexts that cycle through the tasks of the model."""
    rng, tasks = random.Random(seed), artefact.tasks
    return [_context(artefact, tasks[n % len(tasks)], rng) for n in range(count)]


def sample_queries(artefact: Artefact, count: int, seed: int) -> Floats:
    """Retrieval queries of `sample_contexts`. [count, D + Dz]"""
    contexts = sample_contexts(artefact, count, seed)
    encoded = [artefact.catalogue.encode_context(artefact.fill(context)) for context in contexts]
    return np.stack([artefact.scorer.retrieval_query(context) for context in encoded])


def _context(artefact: Artefact, task: str, rng: random.Random) -> Context:
    """A search for a name, more-like-this for an entity, or another task for a known user."""
    entity_id = artefact.catalogue.ids[rng.randrange(artefact.entity_count)]
    users = artefact.sample_users(QUERIES)
    user = rng.choice(users) if users else None
    history = artefact.history(user) if user else ()
    if task == SEARCH:
        return Context(task, query=artefact.catalogue.names[entity_id])
    if task == MORE_LIKE_THIS:
        return Context(task, source_entity_id=entity_id)
    return Context(task, user_id=user, history=history, source_entity_id=None if history else entity_id)
