"""Searches for entities by name, for catalogues without searches: the whole name, and a rare part of it.

What somebody would type who knows the entity. The demo's searches, which know likes and genres, are in `demo.py`.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from model.context.context import SEARCH
from model.events.derived import PREFIX
from model.events.parts import fraction
from model.events.table import conform
from model.text.normalise import words

SEARCHES = 6_000
MOST_RELEVANT = 5
OTHERS = 4  # entities of a slate that have a word of the query and not all
TRIES = 12  # draws to find them
RAREST = 2  # most words of a part

Slate = list[tuple[int, float]]  # entity as an index, label


class NameIndex:
    """Finds names by their words. Entities are indices."""

    def __init__(self, names: Sequence[list[str]]) -> None:
        self.names = names
        self._holders: dict[str, list[int]] = defaultdict(list)
        for index, name in enumerate(names):
            for word in dict.fromkeys(name):
                self._holders[word].append(index)

    def part(self, index: int, rng: random.Random) -> list[str]:
        """One or two of the rarest words of a name, in its order, and never all; a name of one word is returned whole.

        The number of words is drawn.
        """
        name = list(dict.fromkeys(self.names[index]))
        size = rng.randint(1, max(1, min(RAREST, len(name) - 1)))
        rarest = sorted(name, key=lambda word: len(self._holders[word]))[:size]
        return [word for word in name if word in rarest]

    def slate(self, query: Sequence[str], first: int, rng: random.Random) -> Slate:
        """The entity, others with all words of the query (1), and some that have a word of it (0)."""
        groups = sorted((self._holders[word] for word in query), key=len)
        wanted = set(query)
        matching = [other for other in groups[0] if other != first and wanted <= set(self.names[other])]
        drawn = [rng.choice(group) for group in groups for _ in range(TRIES)]
        others = [other for other in dict.fromkeys(drawn) if not wanted <= set(self.names[other])]
        relevant = [first, *matching[: MOST_RELEVANT - 1]]
        return [(row, 1.0) for row in relevant] + [(row, 0.0) for row in others[:OTHERS]]


def name_searches(entities: Sequence[Mapping[str, object]], limit: int = SEARCHES, seed: int = 0) -> pl.DataFrame:
    """At most `limit` slates without user, time and part, each text once. Entities without a word are left out."""
    index, rng = NameIndex([words(str(entity["display_name"])) for entity in entities]), random.Random(seed)
    ids = [str(entity["entity_id"]) for entity in entities]
    slates: dict[str, Slate] = {}
    for query, row in _queries(index, ids, rng):
        if len(slates) >= limit:
            break
        if (text := " ".join(query)) not in slates:
            slates[text] = index.slate(query, row, rng)
    rows = [
        (f"{PREFIX}search-{number}", SEARCH, text, ids[row], label)
        for number, (text, slate) in enumerate(slates.items())
        for row, label in slate
    ]
    names = {"ranking_id": pl.String, "task": pl.String, "query": pl.String, "entity_id": pl.String}
    return conform(pl.DataFrame(rows, schema={**names, "label": pl.Float64}, orient="row"))


def _queries(index: NameIndex, ids: Sequence[str], rng: random.Random) -> Iterator[tuple[list[str], int]]:
    """Words of a query and the entity that it is for, two queries an entity, in an order by hash."""
    for row in sorted(range(len(ids)), key=lambda row: (fraction("name search", ids[row]), ids[row])):
        if index.names[row]:
            yield index.names[row], row
            yield index.part(row, rng), row
