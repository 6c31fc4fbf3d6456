"""The words of an entity by field, and their order of priority for a record. Uses no vocabulary."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from model.catalogue.numbers import year_words
from model.text.normalise import words
from model.text.vocabulary import FIELD_BITS

Entity = Mapping[str, object]
Piece = tuple[int, list[str]]  # index of a field, words


@dataclass(frozen=True, slots=True)
class Split:
    """The words of one entity. `fields` holds them by field, in the order of `field_names`."""

    fields: list[list[str]]
    named: list[Piece]  # of the name, the categories and the numbers, one per column
    texts: list[Piece]  # of the text columns

    @property
    def name(self) -> list[str]:
        """Words of the display name."""
        return self.fields[0]

    def by_weight(self) -> Iterator[tuple[int, str]]:
        """(field, word) of all words: name, categories and numbers first, then texts; columns of a kind alternate.

        So neither a long text nor a long list uses up all tokens of a record.
        """
        yield from _interleave(self.named)
        yield from _interleave(self.texts)


def _interleave(pieces: Sequence[Piece]) -> Iterator[tuple[int, str]]:
    fields = [field for field, _ in pieces]
    for row in zip_longest(*(dict.fromkeys(piece_words) for _, piece_words in pieces)):
        yield from ((field, word) for field, word in zip(fields, row, strict=True) if word is not None)


def text_values(value: object) -> list[str]:
    """An attribute as a list of texts; empty for a missing value or a number."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, (list, tuple)):
        return [str(item) for item in value]
    return []


def field_names(columns: Mapping[str, str]) -> list[str]:
    """The fields in which words are matched: the name, each text and category column, and years.

    At most `FIELD_BITS`; further columns share the field `other`.
    """
    textual = [name for name, kind in columns.items() if kind in ("text", "categories")]
    limit = FIELD_BITS - 2
    shared = ["other"] if len(textual) > limit else []
    return ["display_name", *textual[: limit - len(shared)], *shared, "numbers"]


def split_fields(entity: Entity, columns: Mapping[str, str], years: Collection[str] = ()) -> Split:
    """The words of each column of an entity; `years` are the number columns that hold years."""
    names = field_names(columns)
    bits = {name: bit for bit, name in enumerate(names)}
    named: list[Piece] = [(0, words(str(entity.get("display_name") or "")))]
    texts: list[Piece] = []
    for column, kind in columns.items():
        value = entity.get(column)
        if kind in ("text", "categories"):
            column_words = [word for part in text_values(value) for word in words(part)]
            (texts if kind == "text" else named).append((bits.get(column, bits.get("other", 0)), column_words))
        elif column in years:
            named.append((len(names) - 1, year_words(value)))
    return Split(_by_field(len(names), [*named, *texts]), named, texts)


def _by_field(count: int, pieces: Sequence[Piece]) -> list[list[str]]:
    fields: list[list[str]] = [[] for _ in range(count)]
    for field, piece_words in pieces:
        fields[field].extend(piece_words)
    return fields
