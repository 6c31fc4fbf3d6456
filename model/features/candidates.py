"""Values of candidates that several groups of match features read. Belongs to no group and writes no feature."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.catalogue.encoding import EntityEncoder
from model.catalogue.ragged import Ragged
from model.catalogue.records import Records, Rows
from model.features.layout import Floats, Ints
from model.text.vocabulary import FIELD_BITS

FIELD_MASK = (1 << FIELD_BITS) - 1


class Candidates:
    """C records to compare. Values that two groups need are computed once, at first use."""

    def __init__(self, records: Records) -> None:
        self.records = records

    @cached_property
    def token_ids(self) -> Ints:
        """Ids of the tokens in the vocabulary, as indices. [tokens]"""
        return (self.records.tokens.values >> FIELD_BITS).astype(np.int64)

    @cached_property
    def engagement_lengths(self) -> Floats:
        """Lengths of the engagement vectors. [C]"""
        return np.asarray(np.sqrt((self.records.engagement**2).sum(1)))


@dataclass(frozen=True, slots=True)
class StaticColumns:
    """Positions of the static columns of an encoder; see `EntityEncoder.static_names`."""

    numbers: slice  # standard scores, 0 where missing
    missing: slice  # 1 where a number is missing
    name_idf: int
    name_trigrams: int
    norms: slice  # one per field
    alone: slice  # all but the norms

    @classmethod
    def of(cls, encoder: EntityEncoder) -> StaticColumns:
        """The positions for one encoder."""
        names, numbers = encoder.static_names, len(encoder.numbers)
        norms = names.index("norm_display_name")
        return cls(
            slice(numbers), slice(numbers, 2 * numbers), names.index("name_idf"), names.index("name_trigrams"),
            slice(norms, len(names)), slice(norms),
        )  # fmt: skip


@cache
def fields_of_masks(fields: int) -> Floats:
    """Each field mask as a row of zeros and ones. [2^FIELD_BITS, fields]"""
    masks = np.arange(2**FIELD_BITS)[:, None] >> np.arange(fields) & 1
    return masks.astype(np.float32)


def marked_tokens(marks: NDArray[Any], tokens: Ragged) -> tuple[Ints, Ints]:
    """Places of the tokens with a mark other than 0, and the start of each row among them, rising. marks [tokens]"""
    places = np.flatnonzero(marks != 0)
    return places, np.searchsorted(places, tokens.offsets)


def weight_of(rows: Rows, among: Rows, weights: Floats) -> Floats:
    """The weight of each row, 0 where it is not `among` them [P], which rise. rows [C] → [C]"""
    if not len(among):
        return np.zeros(len(rows), np.float32)
    places = np.minimum(np.searchsorted(among, rows), len(among) - 1)
    return np.where(among[places] == rows, weights[places], np.float32(0))


def ease_scale(scores: Floats) -> Floats:
    """Compress EASE scores, which span three orders of magnitude. Keeps their order."""
    return np.asarray(np.arcsinh(100 * scores), np.float32)
