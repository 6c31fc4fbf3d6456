"""Titles of homepage rows for training: a value that entities share, in the wordings of shop windows. Ranks nothing.

Logs rarely hold titles, so the sampler makes them from the catalogue: a category value or a decade of an entity that
the person engaged with. An entity fits a title if it has that value.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.catalogue.fields import Entity, text_values
from model.catalogue.numbers import year_words

Ints = NDArray[np.int64]
FEWEST = 5  # entities that must share a value: a shorter row is no row
FITS = 0.3  # target of a row that fits a title: not known to be liked, but better than what does not fit
LARGEST_SHARE = 0.6  # of the catalogue; a value of nearly everything says nothing
WORDINGS = (
    "{}", "{}", "{}", "{plural}", "{plural}", "{plural} for you", "best of {}", "top {plural}", "new {plural}",
    "more {plural}", "popular {plural}", "because you like {}", "{} you may like", "with {}", "by {}", "from the {}",
    "{} {things}", "{things} by {}", "{things} with {}", "{things} from the {}", "the best {things} of the {}",
)  # fmt: skip
THINGS = (
    "films",
    "movies",
    "titles",
    "picks",
    "hits",
    "favourites",
    "classics",
    "items",
    "products",
    "series",
    "books",
)


@dataclass(frozen=True, slots=True)
class RowTitle:
    """A title, and the rows of the catalogue that fit it, rising."""

    text: str
    fitting: Ints

    def fits(self, rows: Ints) -> NDArray[np.float32]:
        """1 for each row that fits, else 0. [C]"""
        return np.isin(rows, self.fitting).astype(np.float32)

    def targets_of(self, rows: Ints) -> NDArray[np.float32]:
        """The targets of rows without a label. [C]"""
        return FITS * self.fits(rows)


class RowTitles:
    """Draws titles for entities of one catalogue. `columns` maps each attribute to its kind; `years` hold years."""

    def __init__(self, entities: Sequence[Entity], columns: Mapping[str, str], years: Sequence[str]) -> None:
        rows: dict[tuple[str, str], list[int]] = defaultdict(list)
        for row, entity in enumerate(entities):
            for key in dict.fromkeys(_values(entity, columns, years)):
                rows[key].append(row)
        most = LARGEST_SHARE * len(entities)
        self.fitting = {key: np.array(own, np.int64) for key, own in rows.items() if FEWEST <= len(own) <= most}
        self._keys: dict[int, list[tuple[str, str]]] = defaultdict(list)
        for key, own in self.fitting.items():
            for row in own.tolist():
                self._keys[row].append(key)

    def draw(self, row: int, rng: np.random.Generator) -> RowTitle | None:
        """A title that the entity in this row fits, of a random column; None where it shares no value."""
        keys = self._keys.get(row)
        if not keys:
            return None
        columns = sorted({column for column, _ in keys})
        column = columns[rng.integers(len(columns))]
        values = [key for key in keys if key[0] == column]
        key = values[rng.integers(len(values))]
        wording, things = (words[rng.integers(len(words))] for words in (WORDINGS, THINGS))
        return RowTitle(wording.format(key[1], plural=plural(key[1]), things=things), self.fitting[key])


def _values(entity: Entity, columns: Mapping[str, str], years: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(column, value) of each category and decade of an entity."""
    for column, kind in columns.items():
        if kind == "categories":
            yield from ((column, value) for value in text_values(entity.get(column)) if value.strip())
    for column in years:
        yield from ((column, text) for text in year_words(entity.get(column)))


def plural(text: str) -> str:
    """The English plural of a title's last word, roughly; a name or a decade stays as it is.

    >>> plural("Comedy"), plural("Western"), plural("1990s"), plural("Toni Collette"), plural("heist")
    ('Comedies', 'Westerns', '1990s', 'Toni Collette', 'heists')
    """
    if " " in text or not text[-1:].isalpha() or text.endswith("s"):
        return text
    return f"{text[:-1]}ies" if text.endswith("y") and text[-2:-1] not in "aeiou" else f"{text}s"
