"""The scopes of API keys. Imports nothing heavy, because the command line lists these names."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Scope(StrEnum):
    """What a key allows: `rank` reads, `write` sends events and entities, `admin` reads metrics and changes models."""

    RANK = "rank"
    WRITE = "write"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Access:
    """What a route requires: a key with `scope`; None = no key."""

    scope: Scope | None
