"""The protocol of a tier of entity records beyond process memory, and its error. Holds nothing itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class TierError(Exception):
    """The tier cannot answer now; `found`: the records that it could read nevertheless."""

    def __init__(self, detail: str, found: Mapping[str, bytes] | None = None) -> None:
        super().__init__(detail)
        self.found = dict(found or {})


class Tier(Protocol):
    """Packed records by entity id. `get` and `put` raise `TierError`, and nothing else."""

    async def get(self, entity_ids: Sequence[str], within_s: float) -> dict[str, bytes]:
        """The stored records that can be read within `within_s` seconds."""
        ...

    async def put(self, records: Mapping[str, bytes]) -> None:
        """Store these records."""
        ...

    async def close(self) -> None:
        """Release connections and other system resources."""
        ...


class RecordBatch(Protocol):
    """Records of some entities, in the form that a model computes with."""

    def __len__(self) -> int:
        """Number of records."""
        ...

    def part(self, start: int, end: int) -> RecordBatch:
        """The records from `start` to before `end`."""
        ...
