"""Stage 1: adds the user's history to the context of a request and imputes missing fields. Retrieves nothing."""

from __future__ import annotations

from dataclasses import replace

from app.errors import NotFoundError, UnirankError, invalid
from app.ranking.model import RankingModel
from app.ranking.rules.seen import NO_ROWS, SeenRule, history_entities, seen_by_default
from app.ranking.types import ImputedRequest, RankingRequest
from model.context.context import Context
from model.context.imputation import FilledContext, MissingFieldError


class ContextStage:
    """RankingRequest → ImputedRequest. `max_seen`: the most seen entities that a ranking drops or demotes."""

    def __init__(self, model: RankingModel, max_seen: int) -> None:
        self._model = model
        self._max_seen = max_seen

    def __call__(self, request: RankingRequest) -> ImputedRequest:
        """Raises `InvalidRequestError` or `NotFoundError` if the context cannot be filled."""
        filled = self._impute(request)
        return ImputedRequest(request, filled, self._seen_rule(request, filled.context))

    def _impute(self, request: RankingRequest) -> FilledContext:
        context = request.context
        if context.source_entity_id is not None and self._model.find([context.source_entity_id])[0] < 0:
            raise _unknown_source(request, context.source_entity_id)
        if context.user_id is not None and not request.history_given:
            context = replace(context, history=self._model.history(context.user_id))
        try:
            return self._model.fill(context)
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
        stored = self._model.seen(context.user_id or "") if use_stored else NO_ROWS
        truncated = len(stored) > self._max_seen
        return SeenRule(action, history_entities(context), stored[: self._max_seen], truncated)


def _unknown_source(request: RankingRequest, source: str) -> UnirankError:
    if request.source_in_path:
        return NotFoundError(f"there is no entity '{source}'")
    return invalid(f"{request.at}/source_entity_id", "unknown_entity", f"there is no entity '{source}'")
