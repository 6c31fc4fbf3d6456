"""A scorer together with the catalogue that it ranks: ids in, logits out. Holds no files, draws nothing at random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from model.data.context import Context, HistoryEvent
from model.data.imputation import Filled, Rules, fill
from model.data.record_table import RecordTable
from model.data.records import Records
from model.network.inputs import EncodedContext
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
    ) -> None:
        self.scorer = scorer
        self.ids = list(ids)
        self.rows = {entity_id: row for row, entity_id in enumerate(ids)}
        self.names = names
        self.records = records
        self.rules = rules

    def fill(self, context: Context) -> Filled:
        """Impute what is missing. Raises `MissingFieldError`."""
        return fill(context, self.rules, self.names.get)

    def encode(self, filled: Filled) -> EncodedContext:
        """The context side, from the records of source and history. Unknown ids are left out."""
        length = self.scorer.config.profile_length
        events: list[HistoryEvent] = [e for e in filled.context.history if e.entity_id in self.rows][-length:]
        source_row = self.rows.get(filled.context.source_entity_id or "")
        source = None if source_row is None else self.records.take(np.array([source_row]))
        history = self.records.take(self.rows_of([e.entity_id for e in events])) if events else None
        return self.scorer.encode(filled, source, events, history)

    def rows_of(self, entity_ids: Sequence[str]) -> Ints:
        """Rows of ids that are all in the catalogue."""
        return np.array([self.rows[entity_id] for entity_id in entity_ids], np.int64)

    def logits(self, context: EncodedContext, rows: Ints | None = None) -> Floats:
        """Logits of the named rows, or of the whole catalogue."""
        score = self.scorer.asked(context)
        return score(self.records.take(rows)) if rows is not None else score.all(self.records)

    def plain_logits(self, context: EncodedContext, rows: Ints) -> Floats:
        """The same by the network as it is trained, nothing folded."""
        return self.scorer.plain_logits(context, self.records.take(rows))
