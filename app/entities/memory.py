"""The first tier of entity records: a bounded dictionary in this process. Never waits, never fails."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence


class MemoryTier:
    """Packed records by entity id, at most `limit`; the one unused for longest goes first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._records: OrderedDict[str, bytes] = OrderedDict()

    def __len__(self) -> int:
        return len(self._records)

    async def get(self, entity_ids: Sequence[str]) -> dict[str, bytes]:
        """The records held here, by id."""
        records = self._records
        found = {entity_id: records[entity_id] for entity_id in entity_ids if entity_id in records}
        if len(records) >= self._limit:  # order matters only once something has to go
            for entity_id in found:
                records.move_to_end(entity_id)
        return found

    async def put(self, records: Mapping[str, bytes]) -> None:
        """Hold these records."""
        self._records.update(records)
        while len(self._records) > self._limit:
            self._records.popitem(last=False)

    async def close(self) -> None:
        """Nothing to close."""
