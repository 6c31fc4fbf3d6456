"""Gives a model folder the index for its size: approximate where it is measured to be good enough, else exact.

The folder is replaced whole, under a new version. Queries are those that the model itself would ask: homepages of
training users, searches for names, more like an entity.
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
LEAST = 50_000  # entities; below, exact search takes a millisecond and nothing is five times as fast
QUERIES = 150
Report = Callable[[int, int, str], None]


def index_large(folder: Path, manifest: Manifest, report: Report = lambda *_: None) -> Manifest:
    """The same for a folder that was just written, where its catalogue is large and FAISS is installed."""
    if manifest.sizes.entities < LEAST:
        return manifest
    if faiss() is None:
        _log.warning("%s is large and faiss-cpu is not installed: search by embedding stays exact", folder)
        return manifest
    return index(folder, report=report)[0]


def index(folder: Path, seed: int = 0, report: Report = lambda *_: None) -> tuple[Manifest, IndexMeasurement]:
    """Build, measure, and write the folder again with the better index. Raises `ArtefactError`."""
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
    return _rewritten(folder, artefact, approximate if measured.good else exact, measured), measured


def _rewritten(
    folder: Path, artefact: Artefact, dense: DenseIndex | ApproximateIndex, found: IndexMeasurement
) -> Manifest:
    old = artefact.contents.manifest
    manifest = replace(old, metrics={**old.metrics, "retrieval": _said(dense, found)})
    return rewrite(folder, manifest, dense)


def _said(dense: DenseIndex | ApproximateIndex, found: IndexMeasurement) -> dict[str, Any]:
    """What the manifest says of the choice."""
    return {
        "index": "exact" if isinstance(dense, DenseIndex) else "approximate",
        "recall@100": round(found.recall, 4),
        "times_exact": round(found.times, 1),
        "lists_looked_into": found.probes,
        "queries": found.queries,
    }


def sample_contexts(artefact: Artefact, count: int, seed: int) -> list[Context]:
    """Contexts of the tasks that the model knows, in turn."""
    drawn, tasks = random.Random(seed), artefact.tasks
    return [_context(artefact, tasks[n % len(tasks)], drawn) for n in range(count)]


def sample_queries(artefact: Artefact, count: int, seed: int) -> Floats:
    """The same as retrieval asks for them. [count, D + Dz]"""
    encoded = [artefact.catalogue.encode_context(artefact.fill(one)) for one in sample_contexts(artefact, count, seed)]
    return np.stack([artefact.scorer.retrieval_query(one) for one in encoded])


def _context(artefact: Artefact, task: str, drawn: random.Random) -> Context:
    """A search for a name, more like an entity, or anything else for a known user."""
    entity_id = artefact.catalogue.ids[drawn.randrange(artefact.entity_count)]
    users = artefact.sample_users(QUERIES)
    user = drawn.choice(users) if users else None
    history = artefact.history(user) if user else ()
    if task == SEARCH:
        return Context(task, query=artefact.catalogue.names[entity_id])
    if task == MORE_LIKE_THIS:
        return Context(task, source_entity_id=entity_id)
    return Context(task, user_id=user, history=history, source_entity_id=None if history else entity_id)
