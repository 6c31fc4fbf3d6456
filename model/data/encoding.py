"""Entities as arrays: what the entity tower reads and what the match features compare.

Everything here follows from the attributes of an entity. What people did with it is in `engagement.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from model.config import NetworkConfig
from model.data.ragged import Ints, Ragged
from model.data.text import stable_hash, trigrams, words
from model.data.text_vectors import Bag, TextVectors, hashed_bag
from model.data.vocabulary import FIELD_BITS, TRIGRAM, Vocabulary

Entity = Mapping[str, object]
Floats = NDArray[np.float32]
MAX_TOKENS = 320  # distinct words an entity keeps; the longest texts end there
NULL_CATEGORY = 0


@dataclass(frozen=True, slots=True)
class NumberColumn:
    """How one number becomes a standard score; `logarithm` for amounts that span decades."""

    name: str
    logarithm: bool
    mean: float
    deviation: float

    def scale(self, value: object) -> tuple[float, float]:
        """(standard score clipped at 4, missing flag)."""
        if not isinstance(value, (int, float)) or not np.isfinite(value):
            return 0.0, 1.0
        number = float(np.log1p(max(value, 0.0))) if self.logarithm else float(value)
        return float(np.clip((number - self.mean) / self.deviation, -4.0, 4.0)), 0.0


@dataclass(frozen=True, slots=True)
class EntityArrays:
    """N encoded entities. `static` columns: see `EntityEncoder.static_names`."""

    static: Floats  # [N, S]
    text: Floats  # [N, Dt]
    tokens: Ragged  # codes: id << FIELD_BITS | field mask
    categories: Ragged  # hashed category values

    def take(self, rows: Ints) -> EntityArrays:
        """The named rows."""
        return EntityArrays(self.static[rows], self.text[rows], self.tokens.take(rows), self.categories.take(rows))


def text_values(value: object) -> list[str]:
    """An attribute as a list of texts: lists stay, a missing value is empty."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, (list, tuple)):
        return [str(item) for item in value]
    return []


class EntityEncoder:
    """Turns entities into `EntityArrays`, as fixed by the columns and the vocabulary of a catalogue."""

    def __init__(
        self,
        columns: Mapping[str, str],
        vocabulary: Vocabulary,
        vectors: TextVectors,
        numbers: Sequence[NumberColumn],
        known_categories: NDArray[np.uint32],
        category_buckets: int,
    ) -> None:
        self.columns = dict(columns)
        self.vocabulary = vocabulary
        self.vectors = vectors
        self.numbers = tuple(numbers)
        self.known_categories = known_categories
        self.category_buckets = category_buckets
        self.fields = field_names(columns)
        self._category_columns = [name for name, kind in columns.items() if kind == "categories"]
        self._known = set(known_categories.tolist())

    @classmethod
    def fit(
        cls,
        entities: Sequence[Entity],
        columns: Mapping[str, str],
        config: NetworkConfig,
        seed: int,
        say: Callable[[str], None] = lambda _: None,
    ) -> tuple[EntityEncoder, EntityArrays]:
        """Learn vocabulary, text vectors and number scales from a catalogue, and encode it."""
        fields = field_names(columns)
        say(f"vocabulary of {len(entities):,} entities")
        split = [_split_fields(entity, fields, columns) for entity in entities]
        vocabulary = Vocabulary.of(_document(document) for document in split)
        bags = [_bag(document, config.text_buckets) for document in split]
        vectors = TextVectors.fit(bags, config.text_buckets, config.text_width, seed, say)
        numbers = [_fit_number(name, entities) for name, kind in columns.items() if kind == "number"]
        category_columns = [name for name, kind in columns.items() if kind == "categories"]
        seen = {code for entity in entities for code in _categories(entity, category_columns, config.category_buckets)}
        known = np.array(sorted(seen), np.uint32)
        encoder = cls(columns, vocabulary, vectors, numbers, known, config.category_buckets)
        say("entities")
        return encoder, encoder._arrays(entities, split, bags)

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

    def encode(self, entities: Sequence[Entity]) -> EntityArrays:
        """Encode N entities; columns and categories that training did not know are left out."""
        split = [_split_fields(entity, self.fields, self.columns) for entity in entities]
        bags = [_bag(document, self.vectors.table.shape[0]) for document in split]
        return self._arrays(entities, split, bags)

    def _arrays(
        self, entities: Sequence[Entity], split: Sequence[list[list[str]]], bags: Sequence[Bag]
    ) -> EntityArrays:
        codes = [self._codes(document) for document in split]
        text = [self.vectors.vector(bag) for bag in bags]
        static = [self._static(*row) for row in zip(entities, split, codes, strict=True)]
        categories = [
            [code for code in _categories(entity, self._category_columns, self.category_buckets) if code in self._known]
            for entity in entities
        ]
        return EntityArrays(
            np.array(static, np.float32).reshape(len(entities), len(self.static_names)),
            np.array(text, np.float32).reshape(len(entities), self.vectors.width),
            Ragged.of(codes),
            Ragged.of([row or [NULL_CATEGORY] for row in categories]),
        )

    def _codes(self, document: list[list[str]]) -> list[int]:
        masks: dict[int, int] = {}
        for bit, field_words in enumerate(document):
            for word in field_words:
                number = self.vocabulary.id(word)
                if number in masks or len(masks) < MAX_TOKENS:
                    masks[number] = masks.get(number, 0) | 1 << bit
        for gram in trigrams(document[0]):
            known = self.vocabulary.gram_id(gram)
            if known is not None:
                masks[known] = 1
        return sorted(number << FIELD_BITS | mask for number, mask in masks.items())

    def _static(self, entity: Entity, document: list[list[str]], codes: list[int]) -> list[float]:
        scaled = [column.scale(entity.get(column.name)) for column in self.numbers]
        name_idf = sum(self.vocabulary.weight(word) for word in set(document[0]))
        return [
            *(score for score, _ in scaled),
            *(missing for _, missing in scaled),
            name_idf,
            float(len(trigrams(document[0]))),
            float(np.log1p(len(codes))),
            *self._norms(codes),
        ]

    def _norms(self, codes: list[int]) -> list[float]:
        packed = np.array(codes, np.int64)
        numbers, masks = packed >> FIELD_BITS, packed & (1 << FIELD_BITS) - 1
        squares = self.vocabulary.weights[numbers] ** 2 * (numbers >= self.first_word)
        return [float(np.sqrt(squares[masks >> bit & 1 == 1].sum())) for bit in range(len(self.fields))]

    @property
    def first_word(self) -> int:
        """Ids below are character trigrams, from here on words."""
        return self.vocabulary.prefix_range(TRIGRAM)[1]


def field_names(columns: Mapping[str, str]) -> list[str]:
    """The fields that words are matched in: the name, each text and category column, whole numbers.

    At most `FIELD_BITS`; further columns share the field `other`.
    """
    textual = [name for name, kind in columns.items() if kind in ("text", "categories")]
    room = FIELD_BITS - 2
    shared = ["other"] if len(textual) > room else []
    return ["display_name", *textual[: room - len(shared)], *shared, "numbers"]


def _split_fields(entity: Entity, fields: Sequence[str], columns: Mapping[str, str]) -> list[list[str]]:
    """Words of each field."""
    place = {name: bit for bit, name in enumerate(fields)}
    document: list[list[str]] = [[] for _ in fields]
    document[0] = words(str(entity.get("display_name") or ""))
    for name, kind in columns.items():
        value = entity.get(name)
        if kind in ("text", "categories"):
            bit = place.get(name, place.get("other", 0))
            document[bit].extend(word for part in text_values(value) for word in words(part))
        elif kind == "number" and isinstance(value, (int, float)) and 1000 <= value < 3000 and value == int(value):
            document[-1].append(str(int(value)))  # years, as people type them
    return document


def _document(document: list[list[str]]) -> list[str]:
    grams = [TRIGRAM + gram for gram in trigrams(document[0])]
    return [word for field_words in document for word in field_words] + grams


def _bag(document: list[list[str]], buckets: int) -> Bag:
    return hashed_bag(document[:1], document[1:-1], buckets)


def query_bag(query_words: list[str], buckets: int) -> Bag:
    """A query in the same hashed pieces as an entity, character grams included."""
    return hashed_bag([query_words], [], buckets)


def _categories(entity: Entity, columns: Sequence[str], buckets: int) -> list[int]:
    """Hashed (column, value) pairs in 1…buckets-1."""
    return [
        1 + stable_hash(f"{name}={value}") % (buckets - 1)
        for name in columns
        for value in text_values(entity.get(name))
    ]


def _fit_number(name: str, entities: Sequence[Entity]) -> NumberColumn:
    values = np.array([v for e in entities if isinstance(v := e.get(name), (int, float)) and np.isfinite(v)], float)
    if not len(values):
        return NumberColumn(name, False, 0.0, 1.0)
    logarithm = bool(values.min() >= 0 and values.max() > 20 * max(float(np.median(values)), 1e-9))
    scaled = np.log1p(values) if logarithm else values
    return NumberColumn(name, logarithm, float(scaled.mean()), float(scaled.std()) or 1.0)


def chunks(total: int, size: int) -> list[tuple[int, int]]:
    """Half-open ranges of at most `size` that cover 0…total."""
    marks = [*range(0, total, size), total]
    return list(pairwise(marks)) if total else []
