"""RankingService: the story of one ranking in a few calls. Knows no HTTP, no Redis and no network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from app.entities.store import CACHE_UNAVAILABLE, EntityStore
from app.errors import Fault, InvalidRequestError, NotFoundError, invalid
from app.execution.admission import Gate
from app.execution.scheduler import Turns
from app.execution.worker_thread import ComputeThread
from app.observability.metrics import Clock, Stopwatch, Telemetry
from app.ranking import ordering
from app.ranking.model import RankingModel
from app.ranking.rules.seen import NO_ROWS, SEEN_LIMIT, Seen, history_entities, seen_by_default
from app.ranking.scoring import Logits, Scoring
from app.ranking.types import DEFAULT_LIMIT, Ordered, Ranking, RankingRequest
from model.context.context import Context
from model.context.imputation import Filled, MissingFieldError


class RankingService:
    """Ranks with one model. Holds no state of its own but what it was given; `saw` is told of every order."""

    def __init__(
        self,
        model: RankingModel,
        store: EntityStore,
        compute: ComputeThread,
        turns: Turns,
        gate: Gate,
        telemetry: Telemetry,
        clock: Clock,
        new_id: Callable[[], str],
        retrieve_limit: int,
        max_seen: int,
        saw: Callable[[RankingModel, Ordered], None] = lambda *_: None,
    ) -> None:
        self.model = model
        self._store = store
        self._compute = compute
        self._gate = gate
        self._scoring = Scoring(turns, gate, clock)
        self._telemetry = telemetry
        self._clock = clock
        self._new_id = new_id
        self._retrieve_limit = retrieve_limit
        self._max_seen = max_seen
        self._saw = saw

    def cost(self, request: RankingRequest) -> int:
        """Candidates that a request will have scored at most."""
        return self._retrieved(request) if request.candidates is None else len(request.candidates)

    def _retrieved(self, request: RankingRequest) -> int:
        """How many candidates are proposed: as many as always, more where the page that is asked for needs them."""
        return max(self._retrieve_limit, request.offset + (request.limit or DEFAULT_LIMIT))

    async def rank(self, request: RankingRequest, started: float | None = None) -> Ranking:
        """Fill, propose, gather, score, order, cut a page. Raises `UnirankError`s of the 4xx kind."""
        watch = Stopwatch(self._clock, started)
        self._check_task(request)
        with self._telemetry.ranking(request.context.task, watch):
            ordered = await self._order(request, watch)
            ranking = self.page(ordered, _asked_places(ordered), request.offset + 1)
            watch.lap("rerank")
            return replace(ranking, seconds=watch.seconds)

    async def order(self, request: RankingRequest, may_refuse: bool = True) -> Ordered:
        """All candidates in order, for callers that cut the page themselves. Without `may_refuse`, one that has no time
        for most of its records is in the order given.
        """
        watch = Stopwatch(self._clock)
        self._check_task(request)
        with self._telemetry.ranking(request.context.task, watch):
            return await self._order(request, watch, may_refuse)

    def page(self, ordered: Ordered, places: Sequence[int], first_rank: int = 1) -> Ranking:
        """A ranking of the entities at these places of the order."""
        entity_ids = [ordered.entity_ids[place] for place in places]
        fields = ordered.request.fields
        entities = [self._fields(entity_id, fields) if fields else None for entity_id in entity_ids]
        self._telemetry.fell_short(ordered.degraded)
        scores = self.scores(ordered, places)
        return Ranking(self._new_id(), ordered, first_rank, entity_ids, scores, entities)

    def scores(self, ordered: Ordered, places: Sequence[int]) -> list[float | None]:
        """Calibrated probabilities at these places; None where there is no logit."""
        logits = ordered.logits[np.asarray(places, dtype=np.intp)]
        values = self.model.probability(ordered.request.context.task, logits)
        scores: list[float | None] = values.tolist()
        for place in np.flatnonzero(~np.isfinite(values)).tolist():
            scores[place] = None
        return scores

    async def _order(self, request: RankingRequest, watch: Stopwatch, may_refuse: bool = True) -> Ordered:
        filled = self._filled(request)
        watch.lap("parse")
        seen = self._seen(request, filled.context)
        candidates, behind, late = await self._candidates(request, filled, seen)
        side = self.model.side_entities(filled.context)
        gathered = await self._store.gather(
            candidates, side, self._gather_until(request.deadline, len(candidates)), request.priority
        )
        if may_refuse and gathered.hopeless and len(gathered.late) > len(gathered.candidates):
            raise self._gate.records_refusal(request.priority)
        self._check_known(request, gathered.unknown)
        watch.lap("records")
        unknown = gathered.unknown
        known = ordering.without(candidates, frozenset(unknown)) if unknown else candidates
        scores = await self._scoring.score(
            lambda: self.model.asked(filled, gathered.side_ids, gathered.side),
            gathered.candidates, request.deadline, request.priority, usual=not gathered.late,
        )  # fmt: skip
        watch.lap("score")
        ordered = Ordered(
            request,
            filled,
            *_ordered_ids(
                known,
                _beside_late(known, scores.logits, gathered.late),
                behind,
                [] if request.unknown == "drop" else unknown,
            ),
            unknown=unknown,
            degraded=[CACHE_UNAVAILABLE] * gathered.degraded
            + [SEEN_LIMIT] * seen.cut
            + scores.degraded(late or bool(gathered.late)),
            requested=len(candidates),
            scored=int(np.isfinite(scores.logits).sum()),
        )
        watch.lap("rerank")
        self._saw(self.model, ordered)
        return ordered

    def _gather_until(self, deadline: float, candidates: int) -> float:
        """When to stop gathering, so that there is time left to score what was gathered: as long as that takes for all
        candidates, but no less than a tenth and no more than half of what is left.
        """
        left_s = max(0.0, deadline - self._clock())
        return deadline - min(max(candidates * self._gate.scoring.unit_s, left_s / 10), left_s / 2)

    def _filled(self, request: RankingRequest) -> Filled:
        context = request.context
        if context.source_entity_id is not None and self.model.find([context.source_entity_id])[0] < 0:
            raise _unknown_source(request, context.source_entity_id)
        if context.user_id is not None and not request.history_given:
            context = replace(context, history=self.model.history(context.user_id))
        try:
            filled = self.model.fill(context)
        except MissingFieldError as error:
            raise invalid(f"{request.at}/{error.field}", "missing_field", str(error)) from error
        self._telemetry.filled(filled)
        return filled

    def _seen(self, request: RankingRequest, context: Context) -> Seen:
        """What the person of a filled context has met, where it is to be treated otherwise than the rest.

        A history that the caller gives stands for all that we know of the person.
        """
        action = request.seen or seen_by_default(request.context, request.candidates is None)
        if action == "keep":
            return Seen(action)
        known = context.user_id is not None and not request.history_given
        stored = self.model.seen(context.user_id or "") if known else NO_ROWS
        cut = len(stored) > self._max_seen
        return Seen(action, history_entities(context), stored[: self._max_seen], cut)

    async def _candidates(
        self, request: RankingRequest, filled: Filled, seen: Seen
    ) -> tuple[list[str], frozenset[str], bool]:
        """The ids to score, those of them that go behind the others, and whether there was no time to propose any."""
        late = False
        if request.candidates is not None:
            candidates = ordering.without(ordering.distinct(request.candidates), request.exclude)
        else:
            try:
                async with asyncio.timeout(request.deadline - self._clock()):
                    candidates = await self._proposed(request, filled, seen)
            except TimeoutError:
                candidates, late = [], True
        if seen.action == "keep" or (seen.action == "drop" and request.candidates is None):  # not even proposed
            return candidates, frozenset(), late
        met = seen.among(candidates, self.model.find)
        return (candidates, met, late) if seen.action == "demote" else (ordering.without(candidates, met), met, late)

    async def _proposed(self, request: RankingRequest, filled: Filled, seen: Seen) -> list[str]:
        """Proposals leave out what is dropped, so that a page is filled all the same."""
        source = request.context.source_entity_id
        left_out = request.exclude if source is None else request.exclude | {source}
        dropped = seen if seen.action == "drop" else Seen("keep")
        barred, rows = left_out | dropped.entity_ids, dropped.rows
        limit, proposals = self._retrieved(request), self._gate.proposals
        with proposals.one(request.priority):
            proposed = await self._compute.run(
                lambda: proposals.timed(lambda: self.model.propose(filled, limit, barred, rows)), request.priority
            )
        return ordering.without(ordering.distinct(proposed), barred)

    def _check_known(self, request: RankingRequest, unknown: Sequence[str]) -> None:
        if unknown and request.unknown in ("error", "score") and request.candidates is not None:
            code = "unknown_entity" if request.unknown == "error" else "not_supported"
            raise InvalidRequestError(*_unknown_faults(unknown, request, code))

    def _check_task(self, request: RankingRequest) -> None:
        task = request.context.task
        if task not in self.model.tasks:
            known = ", ".join(self.model.tasks)
            pointer = f"{request.at}/task" if request.at else ""
            raise invalid(pointer, "unknown_task", f"task '{task}' is unknown; this model knows: {known}")

    def _fields(self, entity_id: str, fields: Sequence[str]) -> dict[str, object] | None:
        entity = self.model.entity(entity_id)
        return None if entity is None else {name: entity.get(name) for name in fields}


def _asked_places(ordered: Ordered) -> Sequence[int]:
    """The page that the request asks for."""
    request = ordered.request
    limit = request.limit
    if limit is None and request.candidates is None:
        limit = DEFAULT_LIMIT
    end = None if limit is None else request.offset + limit
    return range(len(ordered.entity_ids))[request.offset : end]


def _ordered_ids(
    known: Sequence[str], logits: Logits, behind: frozenset[str], last: Sequence[str]
) -> tuple[list[str], Logits]:
    """The known ids by logit, then those without a record; and the logits in that order."""
    places = ordering.order(known, logits, behind)
    without_logit = np.full(len(last), np.nan, np.float32)
    return [*map(known.__getitem__, places), *last], np.concatenate([logits[places], without_logit])


def _beside_late(known: Sequence[str], logits: Logits, late: frozenset[str]) -> Logits:
    """The logits of the known ids, given those of all but the late ones; NaN where there was no time."""
    if not late:
        return logits
    every = np.full(len(known), np.nan, np.float32)
    every[[entity_id not in late for entity_id in known]] = logits
    return every


def _unknown_source(request: RankingRequest, source: str) -> Exception:
    if request.source_in_path:
        return NotFoundError(f"there is no entity '{source}'")
    return invalid(f"{request.at}/source_entity_id", "unknown_entity", f"there is no entity '{source}'")


def _unknown_faults(unknown: Sequence[str], request: RankingRequest, code: str) -> list[Fault]:
    ids = set(unknown)
    detail = "there is no entity '{}'" if code == "unknown_entity" else "'{}' has no record to score it from"
    return [
        Fault(f"{request.candidates_at}/{place}", code, detail.format(entity_id))
        for place, entity_id in enumerate(request.candidates or ())
        if entity_id in ids
    ][:20]
