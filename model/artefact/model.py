"""A model folder in memory, with everything that a ranking needs. Independent of HTTP.

`reading.py` and `writing.py` handle its files. Serving, evaluation and studies use the same object.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.artefact import lookups
from model.artefact.contents import ArtefactContents
from model.artefact.manifest import ArtefactError
from model.artefact.reading import read
from model.catalogue.encoding import EntityEncoder
from model.catalogue.record_table import TableRows
from model.catalogue.records import NamedRecords, RecordLayout, Records, assemble
from model.context.context import Context, FilledContext, HistoryEvent
from model.features.match import MatchFeatures
from model.network.catalogue import CatalogueRanker
from model.network.collate import EncodedContext
from model.network.inputs import ContextEncoder
from model.network.scorer import ContextScorer, Scorer
from model.retrieval.lexical import LexicalIndex
from model.retrieval.retrievers import RetrievalRequest, UnionRetriever, retrievers_of

__all__ = ["Artefact", "ArtefactError"]

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class Artefact:
    """One loaded model. `prepare`, its results, `score` and `catalogue` share scratch space: use them in one thread."""

    def __init__(self, contents: ArtefactContents, device: str = "cpu") -> None:
        self.contents = contents
        self.version = contents.manifest.version
        self.checksum = contents.manifest.checksum
        self.tasks = tuple(contents.manifest.tasks)
        self.encoder: EntityEncoder = contents.encoder
        matcher = MatchFeatures(self.encoder, bool(contents.countries))
        contexts = ContextEncoder(matcher, self.tasks, contents.users, contents.countries, contents.tastes[None])
        self.scorer = Scorer(contents.ranker, contexts, device)
        self.layout: RecordLayout = contents.layout
        self.calibration = contents.calibration
        loaded = contents.lookups or lookups.build_lookups(contents.entities, contents.records, self.encoder)
        directory, rules = loaded.directory, contents.manifest.rules
        self.catalogue = CatalogueRanker(
            self.scorer, directory.ids, directory.names, contents.records, rules, directory.rows
        )
        self.dense = loaded.dense
        self.lexical = LexicalIndex(loaded.postings, self.encoder.vocabulary, self.encoder.lists)
        retrievers = retrievers_of(self.scorer, self.dense, self.lexical, contents.records)
        self.retriever = UnionRetriever(retrievers, contents.manifest.proposals, self.tasks)

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> Artefact:
        """Read and check a model folder. Raises `ArtefactError`, one line."""
        contents = read(path)
        try:
            return cls(contents, device)
        except (LookupError, RuntimeError, TypeError, ValueError) as error:
            raise ArtefactError(f"{path}: {type(error).__name__}: {' '.join(str(error).split())}") from error

    @property
    def entity_count(self) -> int:
        """N, the number of entities in the catalogue."""
        return len(self.catalogue.ids)

    @property
    def users(self) -> Sequence[str]:
        """The users that it was trained on."""
        return self.contents.users

    @property
    def dataset(self) -> Mapping[str, Any]:
        """The description of the training dataset from the manifest."""
        return self.contents.manifest.dataset

    # ---- known entities and users ---------------------------------------------------------------------------

    def entity(self, entity_id: str) -> dict[str, object] | None:
        """Attributes of an entity, with `entity_id` and `display_name`; None where unknown."""
        row = self.catalogue.rows.get(entity_id)
        return None if row is None else self.contents.entities[row]

    def history(self, user_id: str) -> tuple[HistoryEvent, ...]:
        """Events of a training user from oldest to newest; empty for other users."""
        return self.contents.histories.get(user_id, ())

    def seen(self, user_id: str) -> Ints:
        """Catalogue rows of all entities that a training user has seen, newest first; empty for other users. [S]"""
        return self.contents.seen.rows_of(user_id)

    def sample_users(self, count: int) -> list[str]:
        """At most `count` training users, evenly spread over the lengths of their histories, shortest first."""
        users = sorted(self.contents.histories, key=lambda user: (len(self.contents.histories[user]), user))
        places = np.unique(np.linspace(0, len(users) - 1, min(count, len(users))).astype(np.int64))
        return [users[place] for place in places]

    # ---- one ranking ----------------------------------------------------------------------------------------

    def fill(self, context: Context) -> FilledContext:
        """Impute the missing fields. Raises `MissingFieldError`."""
        return self.catalogue.fill(context)

    def understood(self, filled: FilledContext) -> dict[str, object]:
        """How a query that the caller gave was read, where that differs from what was typed; else empty.

        `corrected`: typed word → word of the catalogue; `joined`: words that were typed as two.
        """
        if not filled.is_given("query"):
            return {}
        query = self.scorer.matcher.encode_query(filled.context.query)
        read = {"corrected": dict(query.corrected), "joined": list(query.joined)}
        return {name: values for name, values in read.items() if values}

    def context_entities(self, context: Context) -> list[str]:
        """Ids whose records `encode_context` needs: the source and the history. `context` is filled."""
        return self.catalogue.context_entities(context)

    def encode_context(
        self, filled: FilledContext, gathered: NamedRecords[Records | TableRows] | None = None
    ) -> EncodedContext:
        """Encode a context from the `gathered` records of its `context_entities`, by default from the artefact's own.

        A source or a history event without a record is left out.
        """
        return self.catalogue.encode_context(filled, gathered)

    def prepare(self, context: EncodedContext) -> ContextScorer:
        """A callable that scores candidates of this context: candidates → logits, float32 [C]."""
        return self.scorer.prepare(context)

    def score(self, filled: FilledContext, entity_ids: Sequence[str]) -> Floats:
        """Logits [C] of catalogue entities. Raises KeyError on an unknown id."""
        return self.catalogue.logits(self.catalogue.encode_context(filled), self.catalogue.rows_of(entity_ids))

    def probability(self, context: Context, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """P(positive engagement) in a context with its history, calibrated. Same shape."""
        return self.contents.calibration.probability(context.task, logits, context.history)

    def propose(
        self, context: EncodedContext, limit: int, exclude: Collection[str] = (), seen: Ints | None = None
    ) -> list[str]:
        """At most `limit` distinct candidates from the whole catalogue, those of several retrievers by their shares.

        Leaves out the ids in `exclude`, the rows in `seen` [S], and a source that the caller gave. None for a query
        without words, such as "+++".
        """
        if not _has_words(context):
            return []
        excluded = {row for row in self.find(list(exclude)).tolist() if row >= 0}
        if seen is not None:
            excluded.update(seen.tolist())
        source = self.catalogue.rows.get(context.filled.context.source_entity_id or "")
        if source is not None and context.filled.rule_of("source_entity_id") is None:
            excluded.add(source)
        return self.catalogue.ids_of(self.retriever.retrieve(RetrievalRequest(context, limit, excluded)))

    # ---- records --------------------------------------------------------------------------------------------

    def find(self, entity_ids: Sequence[str]) -> Ints:
        """Catalogue rows of ids, -1 = unknown. [C]"""
        return self.catalogue.find(entity_ids)

    def records_at(self, rows: Ints) -> TableRows:
        """The artefact's records of these rows, to be read just before use."""
        return TableRows(self.contents.records, rows)

    def unpack(self, packed: Sequence[bytes]) -> Records:
        """Records from packed bytes. Raises `RecordError` on bytes of another layout."""
        return self.layout.unpack(packed)

    def record(self, entity_id: str) -> bytes | None:
        """The artefact's record of an entity, packed; None where unknown."""
        row = self.catalogue.rows.get(entity_id)
        return None if row is None else self.layout.pack(self.contents.records.take(np.array([row])))[0]

    def compute_records(self, entity_ids: Sequence[str]) -> list[bytes | None]:
        """Packed records, recomputed by the entity tower: the same bytes as the artefact's; None = unknown id."""
        rows = self.find(entity_ids).tolist()
        known = [row for row in rows if row >= 0]
        if not known:
            return [None] * len(rows)
        packed = dict(zip(known, self.layout.pack(self._compute(known)), strict=True))
        return [packed.get(row) for row in rows]

    def with_entities(self, entities: Sequence[Mapping[str, object]]) -> CatalogueRanker:
        """The catalogue plus those of the given entities that it lacks. Only their attributes are used."""
        new = [dict(entity) for entity in entities if str(entity["entity_id"]) not in self.catalogue.rows]
        if not new:
            return self.catalogue
        arrays, rows = self.encoder.encode_entities(new), [-1] * len(new)
        added = assemble(
            arrays, self.contents.engagement.take(np.array(rows)), self.scorer.vectors(arrays, rows), np.array(rows)
        )
        ids = [str(entity["entity_id"]) for entity in new]
        names = {**self.catalogue.names, **{str(e["entity_id"]): str(e["display_name"]) for e in new}}
        return CatalogueRanker(
            self.scorer,
            [*self.catalogue.ids, *ids],
            names,
            self.contents.records.take(np.arange(self.entity_count)).joined(added),
            self.catalogue.rules,
        )

    def _compute(self, rows: Sequence[int]) -> Records:
        arrays = self.encoder.encode_entities([self.contents.entities[row] for row in rows])
        met = self.contents.engagement.popularity[list(rows)] > 0  # other entities use the learned null id
        vectors = self.scorer.vectors(arrays, np.where(met, rows, -1).tolist())
        return assemble(arrays, self.contents.engagement.take(np.array(rows)), vectors, np.array(rows))


def _has_words(context: EncodedContext) -> bool:
    """False for a query that the caller gave and that holds no word. An empty one counts as none."""
    asked = (context.filled.context.query or "").strip()
    return not (asked and context.filled.is_given("query") and not context.query.words)
