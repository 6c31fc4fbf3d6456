"""A scorer together with the catalogue that it ranks: ids in, logits out. Holds no files, draws nothing at random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from model.catalogue.ids import find
from model.catalogue.packed_text import Texts
from model.catalogue.record_table import RecordTable
from model.catalogue.records import Records
from model.context.context import Context, HistoryEvent
from model.context.imputation import Filled, Rules, fill
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
        rows: Mapping[str, int] | None = None,
    ) -> None:
        self.scorer = scorer
        self.ids = ids
        self.rows = {entity_id: row for row, entity_id in enumerate(ids)} if rows is None else rows
        self.names = names
        self.records = records
        self.rules = rules

    def fill(self, context: Context) -> Filled:
        """Impute what is missing. Raises `MissingFieldError`."""
        return fill(context, self.rules, self.names.get)

    def encode(self, filled: Filled) -> EncodedContext:
        """The context side, from the records of source and history. Unknown ids are left out."""
        length = self.scorer.config.profile_length
        found = self.find([event.entity_id for event in filled.context.history])
        known = np.flatnonzero(found >= 0)[-length:]
        events = [filled.context.history[place] for place in known.tolist()]
        source_row = self.rows.get(filled.context.source_entity_id or "")
        source = None if source_row is None else self.records.part(source_row, source_row + 1)
        history = self.records.take(found[known], bare=True) if events else None
        return self.scorer.encode(filled, source, events, history)

    def find(self, entity_ids: Sequence[str]) -> Ints:
        """Rows of ids, -1 = not in the catalogue. [C]"""
        return find(self.rows, entity_ids)

    def rows_of(self, entity_ids: Sequence[str]) -> Ints:
        """Rows of ids that are all in the catalogue. Raises KeyError on another."""
        rows = self.find(entity_ids)
        if (rows < 0).any():
            raise KeyError(entity_ids[int(np.argmin(rows))])
        return rows

    def ids_of(self, rows: Ints) -> list[str]:
        """The ids of rows."""
        return self.ids.take(rows) if isinstance(self.ids, Texts) else [self.ids[row] for row in rows.tolist()]

    def known(self, events: Sequence[HistoryEvent]) -> list[HistoryEvent]:
        """Those whose entity is in the catalogue."""
        rows = self.find([event.entity_id for event in events]).tolist()
        return [event for event, row in zip(events, rows, strict=True) if row >= 0]

    def logits(self, context: EncodedContext, rows: Ints | None = None) -> Floats:
        """Logits of the named rows, or of the whole catalogue."""
        score = self.scorer.asked(context)
        return score(self.records.take(rows)) if rows is not None else score.all(self.records)

    def plain_logits(self, context: EncodedContext, rows: Ints) -> Floats:
        """The same by the network as it is trained, nothing folded."""
        return self.scorer.plain_logits(context, self.records.take(rows))
