"""What a caller may be allowed to do. Imports nothing heavy: the command line shows these names."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Scope(StrEnum):
    """What a key may do: `rank` reads, `write` sends events and entities, `admin` sees metrics and moves models."""

    RANK = "rank"
    WRITE = "write"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Access:
    """What a route asks of its callers: a key with `scope`; None = it is open."""

    scope: Scope | None
