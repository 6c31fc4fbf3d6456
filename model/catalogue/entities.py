"""The entities of a catalogue: ids, rows, names and attributes, packed for a file that processes share.

Up to `SMALL` entities, ids and names are unpacked into lists and dictionaries, which are fastest. Above that, they are
looked up in the packed form. Attributes always stay packed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, overload

from numpy.typing import NDArray

from model.catalogue.fields import Entity
from model.catalogue.ids import IdTable
from model.catalogue.packed_text import Texts

SMALL = 50_000


@dataclass(frozen=True)
class Directory:
    """N entities by row and by id."""

    table: IdTable
    packed_names: Texts
    packed: Texts  # attributes as JSON

    @classmethod
    def of(cls, entities: Sequence[Entity]) -> Directory:
        """Pack entities; each has `entity_id` and `display_name`. Raises ValueError on duplicate ids."""
        ids = Texts.of(str(entity["entity_id"]) for entity in entities)
        names = Texts.of(str(entity["display_name"]) for entity in entities)
        return cls(IdTable.of(ids), names, Texts.of(json.dumps(entity) for entity in entities))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Directory:
        """Build from `arrays()`. Raises ValueError where lengths disagree, KeyError where an array is missing."""
        ids, names, packed = (Texts.from_arrays(arrays, name) for name in ("ids", "names", "entities"))
        if not len(ids) == len(names) == len(packed):
            raise ValueError(f"{len(ids)} ids, {len(names)} names, {len(packed)} entities")
        return cls(IdTable.from_arrays(ids, arrays), names, packed)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All arrays by name, for a file."""
        texts = {"ids": self.table.ids, "names": self.packed_names, "entities": self.packed}
        parts = [text.arrays(name) for name, text in texts.items()]
        return {**self.table.arrays(), **{name: array for part in parts for name, array in part.items()}}

    def __len__(self) -> int:
        return len(self.packed)

    @property
    def _is_small(self) -> bool:
        return len(self) <= SMALL

    @cached_property
    def ids(self) -> Sequence[str]:
        """Ids by row."""
        return list(self.table.ids) if self._is_small else self.table.ids

    @cached_property
    def rows(self) -> Mapping[str, int]:
        """Rows by id."""
        return {entity_id: row for row, entity_id in enumerate(self.ids)} if self._is_small else self.table

    @cached_property
    def names(self) -> Mapping[str, str]:
        """Display names by id."""
        names = self.packed_names
        return dict(zip(self.ids, names, strict=True)) if self._is_small else _TextsById(self.table, names)

    @property
    def entities(self) -> Sequence[dict[str, object]]:
        """Attributes by row, decoded at each access: as dictionaries, 15,000 films take 80 MB in every process."""
        return _DecodedEntities(self.packed)


class _TextsById(Mapping[str, str]):
    """Texts that are stored by row, looked up by id."""

    def __init__(self, rows: IdTable, texts: Texts) -> None:
        self._rows, self._texts = rows, texts

    def __getitem__(self, entity_id: str) -> str:
        return self._texts[self._rows[entity_id]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._texts)


class _DecodedEntities(Sequence[dict[str, object]]):
    """Attributes that are decoded from JSON at each access."""

    def __init__(self, packed: Texts) -> None:
        self._packed = packed

    @overload
    def __getitem__(self, index: int) -> dict[str, object]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, object]]: ...
    def __getitem__(self, index: int | slice) -> dict[str, object] | list[dict[str, object]]:
        if isinstance(index, slice):
            return [json.loads(text) for text in self._packed[index]]
        entity: dict[str, object] = json.loads(self._packed[index])
        return entity

    def __len__(self) -> int:
        return len(self._packed)
