"""Data types: a context, the events of a user's history, an imputed field. No arrays, no imputation logic."""

from __future__ import annotations

from dataclasses import dataclass, field

SEARCH = "search"
HOMEPAGE = "homepage"
MORE_LIKE_THIS = "more_like_this"
TASKS = (SEARCH, HOMEPAGE, MORE_LIKE_THIS)
ROW_TITLE = "context.row_title"  # the column of an event table that holds `Context.row_title`

TITLE_RULE = "row_title"  # the imputation rule that makes a row's title its query

Feature = str | float


@dataclass(frozen=True, slots=True)
class HistoryEvent:
    """One past interaction of the user. `label` > 0 = positive engagement; `timestamp` in ms since 1970 UTC."""

    entity_id: str
    label: float = 1.0
    task: str = HOMEPAGE
    timestamp: int | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """The user and the purpose of a ranking. `None` = not given by the client; `history` runs from oldest to newest."""

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
    """One context field that a rule filled. `value` None = the network uses its learned null."""

    field: str
    value: str | None
    rule: str


@dataclass(frozen=True, slots=True)
class FilledContext:
    """A context without missing fields, and what was imputed. A field imputed as null stays None in `context`."""

    context: Context
    imputed: tuple[Imputed, ...]

    def is_given(self, field: str) -> bool:
        """Whether the caller said the value, as it is or as the title of a row."""
        return getattr(self.context, field) is not None and self.rule_of(field) in (None, TITLE_RULE)

    def rule_of(self, field: str) -> str | None:
        """The rule that filled a field, or None where the caller gave it."""
        return next((entry.rule for entry in self.imputed if entry.field == field), None)
