"""The words of an entity by field, and which of them a record keeps where they are too many. Knows no vocabulary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from model.text.normalise import words
from model.text.vocabulary import FIELD_BITS

Entity = Mapping[str, object]
Piece = tuple[int, list[str]]  # place of a field, words


@dataclass(frozen=True, slots=True)
class Split:
    """The words of one entity. `fields` has them by field, in the order of `field_names`."""

    fields: list[list[str]]
    named: list[Piece]  # of the name, the categories and the numbers, one a column
    texts: list[Piece]  # of the texts

    @property
    def name(self) -> list[str]:
        """Words of the display name."""
        return self.fields[0]

    def by_weight(self) -> Iterator[tuple[int, str]]:
        """(field, word) of all words: names, categories and numbers first, then texts; the columns of each take turns.

        So neither a long text nor a long list takes all the room that a record has.
        """
        yield from _in_turn(self.named)
        yield from _in_turn(self.texts)


def _in_turn(pieces: Sequence[Piece]) -> Iterator[tuple[int, str]]:
    fields = [field for field, _ in pieces]
    for row in zip_longest(*(dict.fromkeys(found) for _, found in pieces)):
        yield from ((field, word) for field, word in zip(fields, row, strict=True) if word is not None)


def text_values(value: object) -> list[str]:
    """An attribute as a list of texts: lists stay, a missing value is empty."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, (list, tuple)):
        return [str(item) for item in value]
    return []


def field_names(columns: Mapping[str, str]) -> list[str]:
    """The fields that words are matched in: the name, each text and category column, whole numbers.

    At most `FIELD_BITS`; further columns share the field `other`.
    """
    textual = [name for name, kind in columns.items() if kind in ("text", "categories")]
    room = FIELD_BITS - 2
    shared = ["other"] if len(textual) > room else []
    return ["display_name", *textual[: room - len(shared)], *shared, "numbers"]


def split_fields(entity: Entity, columns: Mapping[str, str]) -> Split:
    """The words of each column of an entity."""
    names = field_names(columns)
    place = {name: bit for bit, name in enumerate(names)}
    named: list[Piece] = [(0, words(str(entity.get("display_name") or "")))]
    texts: list[Piece] = []
    for column, kind in columns.items():
        value = entity.get(column)
        if kind in ("text", "categories"):
            found = [word for part in text_values(value) for word in words(part)]
            (texts if kind == "text" else named).append((place.get(column, place.get("other", 0)), found))
        elif kind == "number" and (year := _year(value)) is not None:
            named.append((len(names) - 1, [year]))
    return Split(_by_field(len(names), [*named, *texts]), named, texts)


def _year(value: object) -> str | None:
    """A whole number that may be a year, as people type it."""
    whole = isinstance(value, (int, float)) and 1000 <= value < 3000 and value == int(value)
    return str(int(value)) if whole and isinstance(value, (int, float)) else None


def _by_field(count: int, pieces: Sequence[Piece]) -> list[list[str]]:
    fields: list[list[str]] = [[] for _ in range(count)]
    for field, found in pieces:
        fields[field].extend(found)
    return fields
