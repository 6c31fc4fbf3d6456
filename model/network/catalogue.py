"""A scorer with the catalogue that it ranks: ids in, logits out. Reads no files, draws no random numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from model.catalogue.ids import find
from model.catalogue.packed_text import Texts
from model.catalogue.record_table import RecordTable, TableRows
from model.catalogue.records import NamedRecords, Records
from model.context.context import Context, FilledContext, HistoryEvent
from model.context.imputation import Rules, fill
from model.network.collate import EncodedContext
from model.network.scorer import Scorer

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


class CatalogueRanker:
    """N entities with their records, in the order of `ids`."""

    def __init__(
        self,
        scorer: Scorer,
        ids: Sequence[str],
        names: Mapping[str, str],
        records: Records | RecordTable,
        rules: Rules,
        rows: Mapping[str, int] | None = None,
    ) -> None:
        self.scorer = scorer
        self.ids = ids
        self.rows = {entity_id: row for row, entity_id in enumerate(ids)} if rows is None else rows
        self.names = names
        self.records = records
        self.rules = rules

    def fill(self, context: Context) -> FilledContext:
        """Impute the missing fields. Raises `MissingFieldError`."""
        return fill(context, self.rules, self.names.get)

    def context_entities(self, context: Context) -> list[str]:
        """Distinct ids whose records `encode_context` reads: the newest known ones of the history, and the source."""
        known = [event.entity_id for event in self.known(context.history)]
        source = [] if context.source_entity_id is None else [context.source_entity_id]
        return list(dict.fromkeys([*known[-self.scorer.config.profile_length :], *source]))

    def encode_context(
        self, filled: FilledContext, gathered: NamedRecords[Records | TableRows] | None = None
    ) -> EncodedContext:
        """Encode a context from the `gathered` records of its `context_entities`, by default from the catalogue's own.

        Ids without a record are left out.
        """
        records, find = (self.records, self.find) if gathered is None else (gathered.records, gathered.find)
        context = filled.context
        source_ids = [] if context.source_entity_id is None else [context.source_entity_id]
        rows = find([*(event.entity_id for event in context.history), *source_ids])
        history_rows, source_rows = np.split(rows, [len(context.history)])
        known = np.flatnonzero(history_rows >= 0)[-self.scorer.config.profile_length :]
        events = [context.history[place] for place in known.tolist()]
        history = records.take(history_rows[known], bare=True) if events else None
        source = records.take(source_rows) if (source_rows >= 0).any() else None
        return self.scorer.contexts.from_records(filled, source, events, history)

    def find(self, entity_ids: Sequence[str]) -> Ints:
        """Rows of ids, -1 = not in the catalogue. [C]"""
        return find(self.rows, entity_ids)

    def rows_of(self, entity_ids: Sequence[str]) -> Ints:
        """Rows of ids. Raises KeyError on an id that is not in the catalogue."""
        rows = self.find(entity_ids)
        if (rows < 0).any():
            raise KeyError(entity_ids[int(np.argmin(rows))])
        return rows

    def ids_of(self, rows: Ints) -> list[str]:
        """The ids of these rows."""
        return self.ids.take(rows) if isinstance(self.ids, Texts) else [self.ids[row] for row in rows.tolist()]

    def known(self, events: Sequence[HistoryEvent]) -> list[HistoryEvent]:
        """The events whose entity is in the catalogue."""
        rows = self.find([event.entity_id for event in events]).tolist()
        return [event for event, row in zip(events, rows, strict=True) if row >= 0]

    def logits(self, context: EncodedContext, rows: Ints | None = None) -> Floats:
        """Logits of these rows, by default of the whole catalogue."""
        score = self.scorer.prepare(context)
        return score(self.records.take(rows)) if rows is not None else score.all(self.records)

    def plain_logits(self, context: EncodedContext, rows: Ints) -> Floats:
        """The same logits from the network in its training form, without folding."""
        return self.scorer.plain_logits(context, self.records.take(rows))
