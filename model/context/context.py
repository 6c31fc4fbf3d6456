"""The vocabulary: a context, the events of its user's history, what imputation filled. No logic, no arrays."""

from __future__ import annotations

from dataclasses import dataclass, field

SEARCH = "search"
HOMEPAGE = "homepage"
MORE_LIKE_THIS = "more_like_this"
TASKS = (SEARCH, HOMEPAGE, MORE_LIKE_THIS)

Feature = str | float


@dataclass(frozen=True, slots=True)
class HistoryEvent:
    """One thing the user did before. `label` > 0 = positive engagement; `timestamp` in ms since 1970 UTC."""

    entity_id: str
    label: float = 1.0
    task: str = HOMEPAGE
    timestamp: int | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """Whom and what a ranking is for. `None` = the client did not say; `history` runs from oldest to newest."""

    task: str
    user_id: str | None = None
    query: str | None = None
    country: str | None = None
    source_entity_id: str | None = None
    history: tuple[HistoryEvent, ...] = ()
    row_title: str | None = None
    features: dict[str, Feature] = field(default_factory=dict)

    def last_engaged(self) -> str | None:
        """Entity of the newest positive event of the history, or None."""
        return next((event.entity_id for event in reversed(self.history) if event.label > 0), None)


@dataclass(frozen=True, slots=True)
class Imputed:
    """One context field that a rule filled. `value` None = the network's learned null stands in."""

    field: str
    value: str | None
    rule: str
