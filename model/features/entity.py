"""Features of the entity alone: its numbers, missing flags, amount of text, and popularity."""

from __future__ import annotations

from model.catalogue.encoding import EntityEncoder
from model.features.candidates import Candidates, StaticColumns
from model.features.layout import FeatureGroup, Floats, write_rows


class EntityFeatures:
    """Computes the group."""

    def __init__(self, encoder: EntityEncoder) -> None:
        self._static = StaticColumns.of(encoder).alone
        names = tuple(encoder.static_names[self._static])
        self.group = FeatureGroup("entity", (names, ("engaged_count", "never_engaged")))

    def write(self, candidates: Candidates, rows: Floats) -> None:
        """The features of C candidates into `rows` [A, C]."""
        records = candidates.records
        static, engaged = self.group.split(rows)
        static[:] = records.static[:, self._static].T
        write_rows(engaged, records.popularity, records.popularity == 0)
