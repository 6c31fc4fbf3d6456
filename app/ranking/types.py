"""What is asked of the pipeline and what comes out of it. Holds no logic but where a page begins and ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from app.execution.admission import Priority
from app.ranking.rules.seen import SeenAction
from app.ranking.scoring import Logits
from model.context.context import Context
from model.context.imputation import Filled

Unknown = Literal["score", "last", "drop", "error"]
DEFAULT_LIMIT = 10  # items of a ranking whose candidates were retrieved


@dataclass(frozen=True, slots=True)
class RankingRequest:
    """One ranking that is asked for. `None` = not said; `at`, `candidates_at` = where these are in the body."""

    context: Context
    deadline: float
    candidates: Sequence[str] | None = None
    history_given: bool = False
    limit: int | None = None
    offset: int = 0
    exclude: frozenset[str] = frozenset()
    seen: SeenAction | None = None
    unknown: Unknown = "last"
    fields: tuple[str, ...] = ()
    at: str = ""
    candidates_at: str = "/candidates"
    source_in_path: bool = False
    priority: Priority = Priority.NORMAL


@dataclass(frozen=True, slots=True)
class Ordered:
    """All candidates of a ranking from best to worst, with their logits [C] (NaN = none). No page cut yet."""

    request: RankingRequest
    filled: Filled
    entity_ids: list[str]
    logits: Logits
    unknown: list[str]
    degraded: list[str]
    requested: int
    scored: int


@dataclass(frozen=True, slots=True)
class Ranking:
    """One page of an order: ids from `first_rank` on, with a score (None = could not be scored) and an entity
    each (None = unknown or not asked for). Lists side by side: a page may be long. `seconds` by stage.
    """

    ranking_id: str
    ordered: Ordered
    first_rank: int
    entity_ids: list[str]
    scores: list[float | None]
    entities: list[dict[str, object] | None]
    seconds: dict[str, float] = field(default_factory=dict)
