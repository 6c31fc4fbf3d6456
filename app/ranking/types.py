"""The input of the pipeline, and the result of each of its stages. Holds no logic.

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
from model.context.context import Context, FilledContext

Logits = npt.NDArray[np.float32]
Unknown = Literal["score", "last", "drop", "error"]
DEFAULT_LIMIT = 10  # items of a ranking whose candidates were retrieved


@dataclass(frozen=True, slots=True)
class RankingRequest:
    """One requested ranking. `None` = not given; `at`, `candidates_at`: JSON pointers to it and its candidates.

    If `may_refuse` is false, a ranking without time for most of its records keeps the given order.
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

    def most_candidates(self, retrieve_limit: int) -> int:
        """The largest number of candidates to score; `retrieve_limit` are proposed unless the page needs more."""
        if self.candidates is not None:
            return len(self.candidates)
        return max(retrieve_limit, self.offset + (self.limit or DEFAULT_LIMIT))

    @property
    def rankings(self) -> tuple[RankingRequest, ...]:
        """All rankings that the answer needs: this one. A homepage has several."""
        return (self,)


@dataclass(frozen=True, slots=True)
class ImputedRequest:
    """A request, its context after imputation, and what to do with the entities that the user has seen."""

    request: RankingRequest
    filled: FilledContext
    seen: SeenRule


@dataclass(frozen=True, slots=True)
class Candidates:
    """Distinct ids to score. `demoted`: those that come after the others; `late`: there was no time to propose any;
    `encoded`: the context as encoded for retrieval, None if nothing was retrieved.
    """

    imputed: ImputedRequest
    entity_ids: list[str]
    demoted: frozenset[str] = frozenset()
    late: bool = False
    encoded: Any | None = None


@dataclass(frozen=True, slots=True)
class CandidateRecords:
    """Candidates with their records. `entity_ids`: the candidates that are in the catalogue."""

    candidates: Candidates
    gathered: Gathered
    entity_ids: list[str]


@dataclass(frozen=True, slots=True)
class ScoredCandidates:
    """Candidates that are in the catalogue [K] with their logits [K], NaN for a missing one. `degraded`: reasons."""

    records: CandidateRecords
    logits: Logits
    degraded: list[str]


@dataclass(frozen=True, slots=True)
class OrderedCandidates:
    """All candidates of a ranking from best to worst, with their logits [C] (NaN = none), before the page is cut."""

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
    """One page of an order: ids from `first_rank` on, each with a score (None = could not be scored) and an entity
    (None = unknown or not requested), as parallel lists because a page may be long. `understood`: how a query was read
    where that differs from what was typed. `seconds` by stage.
    """

    ranking_id: str
    ordered: OrderedCandidates
    first_rank: int
    entity_ids: list[str]
    scores: list[float | None]
    entities: list[dict[str, object] | None]
    understood: dict[str, object] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
