"""Source ↔ entity: overlap of each field, distance of numbers, text cosine, co-engagement, what comes next."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.catalogue.encoding import EntityEncoder
from model.catalogue.records import Records
from model.features.candidates import (
    FIELD_MASK,
    Candidates,
    StaticColumns,
    ease_scale,
    fields_of_masks,
    marked_tokens,
    weight_of,
)
from model.features.layout import FeatureGroup, Floats
from model.text.vocabulary import FIELD_BITS

_PAIR = ("source_text", "source_engagement", "source_cosine", "source_next")


class SourceFeatures:
    """Computes the group. Holds a scratch table, so use an instance in one thread only."""

    def __init__(self, encoder: EntityEncoder) -> None:
        by_field = tuple(f"source_{name}" for name in encoder.fields)
        distances = tuple(f"source_distance_{column.name}" for column in encoder.numbers)
        self.group = FeatureGroup("source", (by_field, distances, _PAIR), needs="source")
        self._static = StaticColumns.of(encoder)
        self._in_fields = fields_of_masks(len(encoder.fields))
        self._squares = encoder.vocabulary.weights**2
        self._squares[: encoder.vocabulary.first_word] = 0.0  # only words count, not trigrams
        self._masks = np.zeros(len(encoder.vocabulary.weights), np.uint16)  # scratch

    def write(self, source: Records, candidates: Candidates, rows: Floats) -> None:
        """The features of C candidates into `rows` [A, C]; `source` holds one record."""
        records, numbers = candidates.records, self._static.numbers
        by_field, distances, (text, engagement, cosine, following) = self.group.split(rows)
        dot = records.engagement @ source.engagement[0]
        by_field[:] = self._overlap(source, candidates).T
        np.abs((records.static[:, numbers] - source.static[0, numbers]).T, out=distances)
        text[:] = records.text @ source.text[0]
        engagement[:] = ease_scale(dot * records.inverse)
        cosine[:] = dot / np.maximum(candidates.engagement_lengths * np.linalg.norm(source.engagement[0]), 1e-6)

        order = np.argsort(source.next_rows[0])
        following[:] = weight_of(records.row, source.next_rows[0, order], source.next_weights[0, order])

    def _overlap(self, source: Records, candidates: Candidates) -> Floats:
        """TF-IDF cosine of each field with the same field of the source. [C, fields]"""
        records, token_ids = candidates.records, candidates.token_ids
        shared = self._shared(source, candidates)
        places, bounds = marked_tokens(shared, records.tokens)
        in_fields = self._in_fields.take(shared.take(places), axis=0)
        in_fields *= self._squares.take(token_ids.take(places))[:, None]
        sums = np.zeros((len(records), in_fields.shape[1]), np.float32)
        touched = np.flatnonzero(np.diff(bounds))
        if touched.size:
            sums[touched] = np.add.reduceat(in_fields, bounds[touched], axis=0)
        norms = records.static[:, self._static.norms] * source.static[0, self._static.norms]
        return np.asarray(sums / np.maximum(norms, 1e-6), np.float32)

    def _shared(self, source: Records, candidates: Candidates) -> NDArray[np.uint16]:
        """Masks of the fields in which both source and candidate have a token. [tokens]"""
        own = source.tokens.row(0)
        marked = (own >> FIELD_BITS).astype(np.int64)
        self._masks[marked] = own & FIELD_MASK
        shared = self._masks.take(candidates.token_ids) & candidates.records.tokens.values.astype(np.uint16)
        self._masks[marked] = 0
        return shared
