"""RankingService: runs one ranking as a pipeline of stages, timed and counted. Knows no HTTP, Redis or network.

imputation → candidates (`candidates.py`) → records (`records.py`) → scores (`scoring.py`) → rules (`rules/apply.py`) →
page. Each stage takes the result of the previous one (`types.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from app.entities.store import EntityStore
from app.errors import NotFoundError, UnirankError, invalid
from app.execution.admission import AdmissionControl
from app.execution.scheduler import Scheduler
from app.execution.worker_thread import WorkerThread
from app.observability.metrics import Clock, Metrics, Stopwatch
from app.ranking.candidates import CandidateStage
from app.ranking.model import RankingModel
from app.ranking.records import RecordStage
from app.ranking.rules.apply import apply_rules
from app.ranking.rules.seen import NO_ROWS, SeenRule, history_entities, seen_by_default
from app.ranking.scoring import ScoreStage
from app.ranking.types import DEFAULT_LIMIT, ImputedRequest, OrderedCandidates, Ranking, RankingRequest
from model.context.context import Context, FilledContext
from model.context.imputation import MissingFieldError


class RankingService:
    """Ranks with one model. Keeps no state between requests; `on_order` is called with every order."""

    def __init__(
        self,
        model: RankingModel,
        store: EntityStore,
        worker: WorkerThread,
        scheduler: Scheduler,
        admission: AdmissionControl,
        metrics: Metrics,
        clock: Clock,
        new_id: Callable[[], str],
        retrieve_limit: int,
        max_seen: int,
        on_order: Callable[[RankingModel, OrderedCandidates], None] = lambda *_: None,
    ) -> None:
        self.model = model
        self.admission = admission
        self._candidates = CandidateStage(model, worker, admission, clock, retrieve_limit)
        self._records = RecordStage(model, store, admission, clock)
        self._score = ScoreStage(model, scheduler, admission, clock)
        self._max_seen = max_seen
        self._metrics = metrics
        self._clock = clock
        self._new_id = new_id
        self._on_order = on_order

    async def rank(self, request: RankingRequest, started: float | None = None) -> Ranking:
        """The requested page. Raises 4xx `UnirankError`s and `OverloadedError`."""
        watch = Stopwatch(self._clock, started)
        self._check_task(request)
        with self._metrics.observe_ranking(request.context.task, watch):
            ordered = await self._run_stages(request, watch)
            ranking = self.page(ordered, _page_places(ordered), request.offset + 1)
            watch.lap("rerank")
            return replace(ranking, seconds=watch.seconds)

    async def order(self, request: RankingRequest) -> OrderedCandidates:
        """All candidates in order, for callers that cut the page themselves. Raises like `rank`."""
        watch = Stopwatch(self._clock)
        self._check_task(request)
        with self._metrics.observe_ranking(request.context.task, watch):
            return await self._run_stages(request, watch)

    async def _run_stages(self, request: RankingRequest, watch: Stopwatch) -> OrderedCandidates:
        imputed = self._impute(request)
        watch.lap("parse")
        candidates = await self._candidates(imputed)
        records = await self._records(candidates)
        watch.lap("records")
        scored = await self._score(records)
        watch.lap("score")
        ordered = apply_rules(scored)
        watch.lap("rerank")
        self._on_order(self.model, ordered)
        return ordered

    def _impute(self, request: RankingRequest) -> ImputedRequest:
        """RankingRequest → ImputedRequest. Raises `InvalidRequestError` or `NotFoundError` if that is not possible."""
        filled = self._fill(request)
        self._metrics.count_imputed(filled)
        return ImputedRequest(request, filled, self._seen_rule(request, filled.context))

    def _fill(self, request: RankingRequest) -> FilledContext:
        context = request.context
        if context.source_entity_id is not None and self.model.find([context.source_entity_id])[0] < 0:
            raise _unknown_source(request, context.source_entity_id)
        if context.user_id is not None and not request.history_given:
            context = replace(context, history=self.model.history(context.user_id))
        try:
            return self.model.fill(context)
        except MissingFieldError as error:
            raise invalid(f"{request.at}/{error.field}", "missing_field", str(error)) from error

    def _seen_rule(self, request: RankingRequest, context: Context) -> SeenRule:
        """The seen entities of the user of a filled context, where they are to be dropped or demoted.

        A history in the request replaces all that the model knows of the user.
        """
        action = request.seen or seen_by_default(request.context, request.candidates is None)
        if action == "keep":
            return SeenRule(action)
        use_stored = context.user_id is not None and not request.history_given
        stored = self.model.seen(context.user_id or "") if use_stored else NO_ROWS
        truncated = len(stored) > self._max_seen
        return SeenRule(action, history_entities(context), stored[: self._max_seen], truncated)

    def page(self, ordered: OrderedCandidates, places: Sequence[int], first_rank: int = 1) -> Ranking:
        """A ranking of the entities at these positions of the order."""
        entity_ids = [ordered.entity_ids[place] for place in places]
        fields = ordered.request.fields
        entities = [self._select_fields(entity_id, fields) if fields else None for entity_id in entity_ids]
        self._metrics.count_degraded(ordered.degraded)
        scores = self.scores(ordered, places)
        understood = self.model.understood(ordered.filled)
        return Ranking(self._new_id(), ordered, first_rank, entity_ids, scores, entities, understood)

    def scores(self, ordered: OrderedCandidates, places: Sequence[int]) -> list[float | None]:
        """Calibrated probabilities at these positions; None where there is no logit."""
        logits = ordered.logits[np.asarray(places, dtype=np.intp)]
        values = self.model.probability(ordered.filled.context, logits)
        scores: list[float | None] = values.tolist()
        for place in np.flatnonzero(~np.isfinite(values)).tolist():
            scores[place] = None
        return scores

    def _check_task(self, request: RankingRequest) -> None:
        task = request.context.task
        if task not in self.model.tasks:
            known_tasks = ", ".join(self.model.tasks)
            pointer = f"{request.at}/task" if request.at else ""
            raise invalid(pointer, "unknown_task", f"task '{task}' is unknown; this model knows: {known_tasks}")

    def _select_fields(self, entity_id: str, fields: Sequence[str]) -> dict[str, object] | None:
        entity = self.model.entity(entity_id)
        return None if entity is None else {name: entity.get(name) for name in fields}


def _page_places(ordered: OrderedCandidates) -> Sequence[int]:
    """Positions of the requested page."""
    request = ordered.request
    limit = request.limit
    if limit is None and request.candidates is None:
        limit = DEFAULT_LIMIT
    end = None if limit is None else request.offset + limit
    return range(len(ordered.entity_ids))[request.offset : end]


def _unknown_source(request: RankingRequest, source: str) -> UnirankError:
    if request.source_in_path:
        return NotFoundError(f"there is no entity '{source}'")
    return invalid(f"{request.at}/source_entity_id", "unknown_entity", f"there is no entity '{source}'")
