"""A model folder in memory: everything a ranking needs, and nothing of how it is asked for.

Its files are `reading.py` and `writing.py`. Serving, evaluation and studies use the same object.
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
from model.context.context import Context, HistoryEvent
from model.context.imputation import FilledContext
from model.features.match import MatchFeatures
from model.network.catalogue import CatalogueRanker
from model.network.inputs import ContextEncoder, EncodedContext
from model.network.scorer import ContextScorer, Scorer
from model.retrieval.lexical import LexicalIndex
from model.retrieval.retrievers import DenseRetriever, LexicalRetriever, RetrievalRequest, UnionRetriever

__all__ = ["Artefact", "ArtefactError"]

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class Artefact:
    """One loaded model. What `prepare` gives, `score` and the catalogue share scratch space: one thread calls them."""

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
        found = contents.lookups or lookups.build_lookups(contents.entities, contents.records, self.encoder.vocabulary)
        directory, rules = found.directory, contents.manifest.rules
        self.catalogue = CatalogueRanker(
            self.scorer, directory.ids, directory.names, contents.records, rules, directory.rows
        )
        self.dense = found.dense
        self.lexical = LexicalIndex(found.postings, self.encoder.vocabulary)
        self.retriever = UnionRetriever([LexicalRetriever(self.lexical), DenseRetriever(self.scorer, self.dense)])

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
        """N, entities of the catalogue."""
        return len(self.catalogue.ids)

    @property
    def users(self) -> Sequence[str]:
        """Whom it was trained on."""
        return self.contents.users

    @property
    def dataset(self) -> Mapping[str, Any]:
        """What the manifest says of the dataset that it was trained on."""
        return self.contents.manifest.dataset

    # ---- what is known --------------------------------------------------------------------------------------

    def entity(self, entity_id: str) -> dict[str, object] | None:
        """Attributes of an entity, with `entity_id` and `display_name`; None where unknown."""
        row = self.catalogue.rows.get(entity_id)
        return None if row is None else self.contents.entities[row]

    def history(self, user_id: str) -> tuple[HistoryEvent, ...]:
        """Events of a training user from oldest to newest; empty for anyone else."""
        return self.contents.histories.get(user_id, ())

    def seen(self, user_id: str) -> Ints:
        """Catalogue rows of all that a training user has met, the newest first; empty for anyone else. [S]"""
        return self.contents.seen.rows_of(user_id)

    def sample_users(self, count: int) -> list[str]:
        """Some training users, spread over the length of their histories, shortest first."""
        users = sorted(self.contents.histories, key=lambda user: (len(self.contents.histories[user]), user))
        places = np.unique(np.linspace(0, len(users) - 1, min(count, len(users))).astype(np.int64))
        return [users[place] for place in places]

    # ---- one ranking ----------------------------------------------------------------------------------------

    def fill(self, context: Context) -> FilledContext:
        """Impute what is missing. Raises `MissingFieldError`."""
        return self.catalogue.fill(context)

    def context_entities(self, context: Context) -> list[str]:
        """Ids whose records `encode` needs: the source and the history. `context` is filled."""
        return self.catalogue.context_entities(context)

    def encode_context(
        self, filled: FilledContext, gathered: NamedRecords[Records | TableRows] | None = None
    ) -> EncodedContext:
        """The context side, from records of its `context_entities` that were gathered, else from the artefact's own.

        What of the source and the history has no record is left out.
        """
        return self.catalogue.encode_context(filled, gathered)

    def prepare(self, context: EncodedContext) -> ContextScorer:
        """A context made ready: candidates in, float32 [C] logits out."""
        return self.scorer.prepare(context)

    def score(self, filled: FilledContext, entity_ids: Sequence[str]) -> Floats:
        """Logits [C] of entities of the catalogue. Raises KeyError on others."""
        return self.catalogue.logits(self.catalogue.encode_context(filled), self.catalogue.rows_of(entity_ids))

    def probability(self, task: str, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """P(positive engagement), calibrated. Same shape."""
        return self.contents.calibration.probability(task, logits)

    def propose(
        self, context: EncodedContext, limit: int, exclude: Collection[str] = (), seen: Ints | None = None
    ) -> list[str]:
        """At most `limit` candidates from the whole catalogue: lexical and dense in turn, without repeats.

        Neither the ids to `exclude`, nor the rows `seen` [S], nor a source that the caller gave are proposed.
        """
        excluded = {row for row in self.find(list(exclude)).tolist() if row >= 0}
        if seen is not None:
            excluded.update(seen.tolist())
        source = self.catalogue.rows.get(context.filled.context.source_entity_id or "")
        if source is not None and context.filled.rule_of("source_entity_id") is None:
            excluded.add(source)
        return self.catalogue.ids_of(self.retriever.retrieve(RetrievalRequest(context, limit, excluded)))

    # ---- records --------------------------------------------------------------------------------------------

    def find(self, entity_ids: Sequence[str]) -> Ints:
        """Rows of the catalogue, -1 = not in it. [C]"""
        return self.catalogue.find(entity_ids)

    def records_at(self, rows: Ints) -> TableRows:
        """The records that the artefact carries in these rows, to be read when they are computed with."""
        return TableRows(self.contents.records, rows)

    def unpack(self, packed: Sequence[bytes]) -> Records:
        """Records from their bytes. Raises `RecordError` on bytes of another layout."""
        return self.layout.unpack(packed)

    def record(self, entity_id: str) -> bytes | None:
        """The packed record that the artefact carries."""
        row = self.catalogue.rows.get(entity_id)
        return None if row is None else self.layout.pack(self.contents.records.take(np.array([row])))[0]

    def compute_records(self, entity_ids: Sequence[str]) -> list[bytes | None]:
        """Records made anew by the entity tower, the same bytes as the artefact's; None = not in the catalogue."""
        rows = self.find(entity_ids).tolist()
        known = [row for row in rows if row >= 0]
        if not known:
            return [None] * len(rows)
        packed = dict(zip(known, self.layout.pack(self._computed(known)), strict=True))
        return [packed.get(row) for row in rows]

    def including(self, entities: Sequence[Mapping[str, object]]) -> CatalogueRanker:
        """The catalogue with the given entities added where it does not have them, known by their attributes alone."""
        new = [dict(entity) for entity in entities if str(entity["entity_id"]) not in self.catalogue.rows]
        if not new:
            return self.catalogue
        arrays, rows = self.encoder.encode_entities(new), [-1] * len(new)
        added = assemble(arrays, self.contents.engagement.take(np.array(rows)), self.scorer.vectors(arrays, rows))
        ids = [str(entity["entity_id"]) for entity in new]
        names = {**self.catalogue.names, **{str(e["entity_id"]): str(e["display_name"]) for e in new}}
        return CatalogueRanker(
            self.scorer,
            [*self.catalogue.ids, *ids],
            names,
            self.contents.records.take(np.arange(self.entity_count)).joined(added),
            self.catalogue.rules,
        )

    def _computed(self, rows: Sequence[int]) -> Records:
        arrays = self.encoder.encode_entities([self.contents.entities[row] for row in rows])
        trained = self.contents.manifest.sizes.entities  # rows beyond it came later: the learned null id
        vectors = self.scorer.vectors(arrays, [row if row < trained else -1 for row in rows])
        return assemble(arrays, self.contents.engagement.take(np.array(rows)), vectors)
