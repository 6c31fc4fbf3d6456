"""Names as people type them: whether each form of a name finds its entity first, or among the first five.

The forms are lines of a CSV file: a kind, a query, and the display name that it should find; an empty name = nothing.
They only measure. `known_items.py` types names that no human wrote.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from model.artefact.model import Artefact
from model.context.context import SEARCH, Context
from model.evaluation.served import first_rows

COLUMNS = ("kind", "query", "name")
FIRST = 5


@dataclass(frozen=True, slots=True)
class TypedForm:
    """A query as somebody types it, and the name that it means."""

    kind: str
    query: str
    name: str


@dataclass(slots=True)
class Found:
    """The forms of one kind: how many there are, found first, found among the first five; and the others."""

    forms: int = 0
    first: int = 0
    among: int = 0
    missed: list[TypedForm] = field(default_factory=list)


def read_forms(file: Path) -> list[TypedForm]:
    """Read a CSV file with `COLUMNS`. Raises ValueError, one line, for another file."""
    if not file.is_file():
        raise ValueError(f"{file}: expected a CSV file of typed forms, found none")
    with file.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream)
        if missing := [name for name in COLUMNS if name not in (reader.fieldnames or ())]:
            raise ValueError(f"{file}: expected the columns {', '.join(COLUMNS)}; there is no {', '.join(missing)}")
        return [TypedForm(*(row[name] or "" for name in COLUMNS)) for row in reader]


def found_forms(artefact: Artefact, forms: Iterable[TypedForm]) -> tuple[Mapping[str, Found], list[TypedForm]]:
    """Kind → what was found; and the forms that are left out, since no entity has their name."""
    names = {str(entity["display_name"]) for entity in artefact.contents.entities}
    kinds: dict[str, Found] = {}
    left_out = []
    for form in forms:
        if form.name and form.name not in names:
            left_out.append(form)
            continue
        first = first_names(artefact, form.query)
        found = kinds.setdefault(form.kind, Found())
        found.forms += 1
        is_first = first[:1] == ([form.name] if form.name else [])
        found.first += is_first
        found.among += is_first or form.name in first
        if not is_first:
            found.missed.append(form)
    return kinds, left_out


def first_names(artefact: Artefact, query: str) -> list[str]:
    """The names of the first results of a search, as the service gives them to somebody unknown."""
    rows = first_rows(artefact, Context(SEARCH, query=query), FIRST)
    return [artefact.catalogue.names[entity_id] for entity_id in artefact.catalogue.ids_of(rows)]
