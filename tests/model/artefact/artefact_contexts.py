"""Contexts of every task, and how the service scores them: for tests of a loaded model."""

from __future__ import annotations

import numpy as np

from model.artefact.model import Artefact
from model.catalogue.records import NamedRecords
from model.context.context import HOMEPAGE, MORE_LIKE_THIS, SEARCH, Context, HistoryEvent


def score(artefact: Artefact, context: Context, ids: list[str]) -> np.ndarray:
    """Logits as the service asks for them where records come as bytes."""
    filled = artefact.fill(context)
    side = [entity_id for entity_id in artefact.context_entities(filled.context) if artefact.record(entity_id)]
    blobs = [[artefact.record(entity_id) or b"" for entity_id in part] for part in (side, ids)]
    beside, candidates = (artefact.unpack(part) for part in blobs)
    return artefact.prepare(artefact.encode_context(filled, NamedRecords(side, beside)))(candidates)


def some_contexts(artefact: Artefact) -> list[Context]:
    user = artefact.sample_users(5)[-1]
    history = artefact.history(user)
    name = artefact.catalogue.names["e3"].lower()
    return [
        Context(SEARCH, query=name),
        Context(SEARCH, user, name[:4], "US", history=history),
        Context(SEARCH),
        Context(HOMEPAGE, user, history=history),
        Context(HOMEPAGE),
        Context(HOMEPAGE, "a stranger", country="a strange land", row_title="Cult"),
        Context(MORE_LIKE_THIS, source_entity_id="e3"),
        Context(MORE_LIKE_THIS, user, source_entity_id="e7", history=history),
        Context(MORE_LIKE_THIS, source_entity_id="unknown"),
        Context(HOMEPAGE, history=(HistoryEvent("unknown", 1.0),)),
    ]
