"""What a tier of entity records beyond process memory is to the store, and how it fails. Holds nothing itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class TierError(Exception):
    """The tier cannot answer now; `found` are the records that it could give all the same."""

    def __init__(self, detail: str, found: Mapping[str, bytes] | None = None) -> None:
        super().__init__(detail)
        self.found = dict(found or {})


class Tier(Protocol):
    """Packed records by entity id. `get` and `put` raise `TierError`, and nothing else."""

    async def get(self, entity_ids: Sequence[str], within_s: float) -> dict[str, bytes]:
        """The records held there, as far as they are found within so many seconds."""
        ...

    async def put(self, records: Mapping[str, bytes]) -> None:
        """Hold these records."""
        ...

    async def close(self) -> None:
        """Give back what it holds of the system."""
        ...


class RecordBatch(Protocol):
    """Records of some entities, as a model holds them to compute with."""

    def __len__(self) -> int:
        """How many."""
        ...

    def part(self, start: int, end: int) -> RecordBatch:
        """Those from `start` to before `end`."""
        ...
