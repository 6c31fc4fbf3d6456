"""What is asked of the pipeline, and what each of its stages hands to the next. Holds no logic.

RankingRequest → ImputedRequest → Candidates → CandidateRecords → ScoredCandidates → OrderedCandidates → Ranking
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from app.entities.store import Gathered
from app.execution.admission import Priority
from app.ranking.rules.seen import SeenAction, SeenRule
from model.context.context import Context
from model.context.imputation import FilledContext

Logits = npt.NDArray[np.float32]
Unknown = Literal["score", "last", "drop", "error"]
DEFAULT_LIMIT = 10  # items of a ranking whose candidates were retrieved


@dataclass(frozen=True, slots=True)
class RankingRequest:
    """One ranking that is asked for. `None` = not said; `at`, `candidates_at` = where these are in the body.

    Without `may_refuse`, a ranking that has no time for most of its records is in the order given.
    """

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
    may_refuse: bool = True

    @property
    def rankings(self) -> tuple[RankingRequest, ...]:
        """All rankings that answering takes: this one. A homepage has many."""
        return (self,)


@dataclass(frozen=True, slots=True)
class ImputedRequest:
    """A request, its context with the gaps filled, and what is to be done with what the person has seen."""

    request: RankingRequest
    filled: FilledContext
    seen: SeenRule


@dataclass(frozen=True, slots=True)
class Candidates:
    """Distinct ids to score. `demoted`: those that go behind the others; `late`: there was no time to propose any;
    `encoded`: the context as retrieval has encoded it, None where nothing was retrieved.
    """

    imputed: ImputedRequest
    entity_ids: list[str]
    demoted: frozenset[str] = frozenset()
    late: bool = False
    encoded: Any | None = None


@dataclass(frozen=True, slots=True)
class CandidateRecords:
    """Candidates with their records. `entity_ids`: those of them that are in the catalogue."""

    candidates: Candidates
    gathered: Gathered
    entity_ids: list[str]


@dataclass(frozen=True, slots=True)
class ScoredCandidates:
    """Candidates that are in the catalogue [K] with their logits [K], NaN where there is none. `degraded`: why."""

    records: CandidateRecords
    logits: Logits
    degraded: list[str]


@dataclass(frozen=True, slots=True)
class OrderedCandidates:
    """All candidates of a ranking from best to worst, with their logits [C] (NaN = none). No page cut yet."""

    request: RankingRequest
    filled: FilledContext
    entity_ids: list[str]
    logits: Logits
    unknown: list[str]
    degraded: list[str]
    requested: int
    scored: int
    demoted: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Ranking:
    """One page of an order: ids from `first_rank` on, with a score (None = could not be scored) and an entity
    each (None = unknown or not asked for). Lists side by side: a page may be long. `seconds` by stage.
    """

    ranking_id: str
    ordered: OrderedCandidates
    first_rank: int
    entity_ids: list[str]
    scores: list[float | None]
    entities: list[dict[str, object] | None]
    seconds: dict[str, float] = field(default_factory=dict)
