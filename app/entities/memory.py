"""The first tier of entity records: a bounded dictionary in this process. Never waits, never fails."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence


class MemoryTier:
    """Packed records by entity id, at most `limit`; the least recently used one is evicted first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._records: OrderedDict[str, bytes] = OrderedDict()

    def __len__(self) -> int:
        return len(self._records)

    async def get(self, entity_ids: Sequence[str]) -> dict[str, bytes]:
        """The stored records, by id."""
        records = self._records
        hits = {entity_id: records[entity_id] for entity_id in entity_ids if entity_id in records}
        if len(records) >= self._limit:  # order matters only for eviction
            for entity_id in hits:
                records.move_to_end(entity_id)
        return hits

    async def put(self, records: Mapping[str, bytes]) -> None:
        """Store these records."""
        self._records.update(records)
        while len(self._records) > self._limit:
            self._records.popitem(last=False)

    async def close(self) -> None:
        """Nothing to close."""
