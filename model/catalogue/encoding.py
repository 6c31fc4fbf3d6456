"""Entities as arrays: what the entity tower reads and what the match features compare.

Everything here comes from the attributes of an entity. What users did with it is in `model/events/engagement.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from model.catalogue.categories import Categories
from model.catalogue.fields import Entity, Split, field_names, split_fields, text_values
from model.catalogue.numbers import NumberColumn
from model.catalogue.ragged import Ints, Ragged
from model.config import NetworkConfig
from model.text.corrections import Corrections
from model.text.latent import Bag, TextVectors, hashed_bag
from model.text.normalise import trigrams
from model.text.spellings import spellings
from model.text.vocabulary import FIELD_BITS, SPELLING, TRIGRAM, Vocabulary

Floats = NDArray[np.float32]
LISTED = 0.02  # how much a use of a word in a list says, against one in a name, of what somebody means who types it
MAX_TOKENS = 320  # distinct words per entity, not counting the character trigrams of its name


@dataclass(frozen=True, slots=True)
class EntityArrays:
    """N encoded entities. `static` columns: see `EntityEncoder.static_names`."""

    static: Floats  # [N, S]
    text: Floats  # [N, Dt]
    tokens: Ragged  # codes: id << FIELD_BITS | field mask
    categories: Ragged  # numbers of known category values

    def take(self, rows: Ints) -> EntityArrays:
        """The entities in these rows."""
        return EntityArrays(self.static[rows], self.text[rows], self.tokens.take(rows), self.categories.take(rows))


class EntityEncoder:
    """Turns entities into `EntityArrays` with the columns, vocabulary and scales that were fitted on a catalogue."""

    def __init__(
        self,
        columns: Mapping[str, str],
        vocabulary: Vocabulary,
        vectors: TextVectors,
        numbers: Sequence[NumberColumn],
        categories: Categories,
        corrections: Corrections,
    ) -> None:
        self.corrections = corrections
        self.columns = dict(columns)
        self.vocabulary = vocabulary
        self.vectors = vectors
        self.numbers = tuple(numbers)
        self.categories = categories
        self.fields = field_names(columns)
        self._category_columns = _category_columns(columns)

    @classmethod
    def fit(
        cls,
        entities: Sequence[Entity],
        columns: Mapping[str, str],
        config: NetworkConfig,
        seed: int,
        say: Callable[[str], None] = lambda _: None,
    ) -> tuple[EntityEncoder, EntityArrays]:
        """Fit vocabulary, text vectors, number scales and categories on a catalogue, and encode it."""
        say(f"vocabulary of {len(entities):,} entities")
        names = [name for name, kind in columns.items() if kind == "number"]
        numbers = [NumberColumn.fit(name, (entity.get(name) for entity in entities)) for name in names]
        years = [column.name for column in numbers if column.years]
        split = [split_fields(entity, columns, years) for entity in entities]
        vocabulary = Vocabulary.of(_document(document) for document in split)
        bags = [_bag(document, config.text_buckets) for document in split]
        vectors = TextVectors.fit(bags, config.text_buckets, config.text_width, seed, say)
        keys = (category_keys(entity, _category_columns(columns)) for entity in entities)
        encoder = cls(
            columns, vocabulary, vectors, numbers, Categories.fit(keys, config.category_buckets - 1), Corrections.none()
        )
        say("entities")
        arrays = encoder._arrays(entities, split, bags)
        named, listed, anywhere = (
            _counts(arrays.tokens, fields, len(vocabulary)) for fields in (1, encoder.lists, (1 << FIELD_BITS) - 1)
        )
        shares = (listed / np.maximum(anywhere, 1)).astype(np.float32)
        counts = named + LISTED * listed
        counts[: vocabulary.first_word] = 0
        encoder.vocabulary = Vocabulary(vocabulary.entries, vocabulary.idf, shares)
        encoder.corrections = Corrections.of(vocabulary.entries, counts)
        return encoder, arrays

    @property
    def years(self) -> list[str]:
        """The number columns that hold years."""
        return [column.name for column in self.numbers if column.years]

    @property
    def lists(self) -> int:
        """The fields that hold categories or years, as a mask of bits."""
        kinds = [self.columns.get(name) for name in self.fields]
        return sum(1 << bit for bit, kind in enumerate(kinds) if kind == "categories" or bit == len(kinds) - 1)

    @property
    def static_names(self) -> list[str]:
        """Names of the S static columns: scaled numbers, missing flags, name statistics, field norms."""
        numbers = [column.name for column in self.numbers]
        return [
            *numbers,
            *(f"{name}_missing" for name in numbers),
            "name_idf",
            "name_trigrams",
            "log_tokens",
            *(f"norm_{name}" for name in self.fields),
        ]

    def encode_entities(self, entities: Sequence[Entity]) -> EntityArrays:
        """Encode N entities. Columns and categories that training did not know are ignored."""
        split = [split_fields(entity, self.columns, self.years) for entity in entities]
        bags = [_bag(document, self.vectors.table.shape[0]) for document in split]
        return self._arrays(entities, split, bags)

    def _arrays(self, entities: Sequence[Entity], split: Sequence[Split], bags: Sequence[Bag]) -> EntityArrays:
        codes = [self._codes(document) for document in split]
        text = [self.vectors.vector(bag) for bag in bags]
        static = [self._static(*row) for row in zip(entities, split, codes, strict=True)]
        categories = [self.categories.numbers(category_keys(entity, self._category_columns)) for entity in entities]
        return EntityArrays(
            np.array(static, np.float32).reshape(len(entities), len(self.static_names)),
            np.array(text, np.float32).reshape(len(entities), self.vectors.width),
            Ragged.of(codes),
            Ragged.of(categories),
        )

    def _codes(self, split: Split) -> list[int]:
        masks: dict[int, int] = {}
        for field, word in split.by_weight():
            number = self.vocabulary.id(word)
            if number in masks or len(masks) < MAX_TOKENS:
                masks[number] = masks.get(number, 0) | 1 << field
        ids = [self.vocabulary.gram_id(gram) for gram in trigrams(split.name)]
        ids += [self.vocabulary.spelling_id(word) for word in spellings(split.name)]
        masks.update({number: 1 for number in ids if number is not None})
        return sorted(number << FIELD_BITS | mask for number, mask in masks.items())

    def _static(self, entity: Entity, split: Split, codes: list[int]) -> list[float]:
        scaled = [column.scale(entity.get(column.name)) for column in self.numbers]
        name_idf = sum(self.vocabulary.weight(word) for word in set(split.name))
        return [
            *(score for score, _ in scaled),
            *(missing for _, missing in scaled),
            name_idf,
            float(len(trigrams(split.name))),
            float(np.log1p(len(codes))),
            *self._norms(codes),
        ]

    def _norms(self, codes: list[int]) -> list[float]:
        packed = np.array(codes, np.int64)
        numbers, masks = packed >> FIELD_BITS, packed & (1 << FIELD_BITS) - 1
        squares = self.vocabulary.weights[numbers] ** 2 * (numbers >= self.vocabulary.first_word)
        return [float(np.sqrt(squares[masks >> bit & 1 == 1].sum())) for bit in range(len(self.fields))]


def _document(split: Split) -> list[str]:
    others = [TRIGRAM + gram for gram in trigrams(split.name)] + [SPELLING + word for word in spellings(split.name)]
    return [word for field_words in split.fields for word in field_words] + others


def _counts(tokens: Ragged, fields: int, words: int) -> NDArray[np.int64]:
    """How many entities have each word in one of the fields, a mask. [words]"""
    ids = (tokens.values >> FIELD_BITS).astype(np.int64)
    return np.bincount(ids[tokens.values & fields != 0], minlength=words)[:words]


def content_vectors(entities: Sequence[Entity], columns: Mapping[str, str]) -> Floats:
    """Text vectors of a catalogue, fitted on it alone, of the width and table that a network has by default. [N, Dt]"""
    config = NetworkConfig()
    bags = [_bag(split_fields(entity, columns, ()), config.text_buckets) for entity in entities]
    vectors = TextVectors.fit(bags, config.text_buckets, config.text_width, seed=0)
    return np.stack([vectors.vector(bag) for bag in bags])


def _bag(split: Split, buckets: int) -> Bag:
    return hashed_bag(split.fields[:1], split.fields[1:-1], buckets)


def query_bag(query_words: list[str], buckets: int) -> Bag:
    """A query in the same hashed pieces as an entity, including character n-grams."""
    return hashed_bag([query_words], [], buckets)


def _category_columns(columns: Mapping[str, str]) -> list[str]:
    return [name for name, kind in columns.items() if kind == "categories"]


def category_keys(entity: Entity, columns: Sequence[str]) -> list[str]:
    """Each value of the category columns, prefixed by the index of its column."""
    return [f"{place}={value}" for place, name in enumerate(columns) for value in text_values(entity.get(name))]


def chunks(total: int, size: int) -> list[tuple[int, int]]:
    """Half-open ranges of at most `size` that cover 0…total."""
    marks = [*range(0, total, size), total]
    return list(pairwise(marks)) if total else []
