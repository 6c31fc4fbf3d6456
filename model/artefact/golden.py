"""Golden requests: contexts with their scores, stored with a model, to check after loading that scores are unchanged.

They cover every combination of given and missing fields for every task. So a request that the model cannot answer fails
at training time, not in serving.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import msgspec
import numpy as np

from model.context.context import HOMEPAGE, Context, HistoryEvent
from model.context.imputation import can_fill
from model.events.timelines import LabelledRanking, Timeline
from model.learning.calibration import Calibration
from model.network.catalogue import CatalogueRanker

EVENTS = 3  # per history
CANDIDATES = 4
DIGITS = 6  # decimals of a probability
FIELDS = ("user_id", "query", "country", "source_entity_id", "history")


class GoldenError(ValueError):
    """An entry of the file is not a request with its scores."""


@dataclass(frozen=True, slots=True)
class GoldenRequest:
    """One request and the probability of each candidate."""

    context: Context
    candidates: list[str]
    scores: list[float]

    @classmethod
    def of(cls, entry: object) -> GoldenRequest:
        """Build from `entry()`. Raises `GoldenError`."""
        try:
            return msgspec.convert(entry, cls)
        except msgspec.ValidationError as error:
            raise GoldenError(str(error)) from error

    def entry(self) -> dict[str, Any]:
        """As plain values for the file, without missing fields."""
        table: dict[str, Any] = msgspec.to_builtins(self)
        table["context"] = {name: value for name, value in table["context"].items() if value}
        return table


def golden_requests(
    catalogue: CatalogueRanker,
    rankings: Sequence[LabelledRanking],
    histories: Mapping[str, Timeline],
    calibration: Calibration,
) -> list[dict[str, Any]]:
    """The entries for a model that was trained on these labelled rankings."""
    samples = {
        task: _samples(catalogue, rankings, histories, task) for task in sorted({u.context.task for u in rankings})
    }
    contexts = [context for task, sample in samples.items() for context in _combinations(task, sample)]
    valid = [context for context in contexts if can_fill(context, catalogue.rules)]
    return [_golden_request(catalogue, calibration, number, context).entry() for number, context in enumerate(valid)]


def _samples(
    catalogue: CatalogueRanker, rankings: Sequence[LabelledRanking], histories: Mapping[str, Timeline], task: str
) -> dict[str, list[Any]]:
    """A few values of each field from the task's contexts; where there are none, values that a client could send."""
    contexts = [ranking.context for ranking in rankings if ranking.context.task == task]
    ids = [catalogue.ids[row] for row in _spread(len(catalogue.ids), EVENTS)]
    given = {name: [v for c in contexts if (v := getattr(c, name)) is not None] for name in FIELDS[:-1]}
    past = [tuple(timeline.events[-EVENTS:]) for timeline in histories.values()]
    values_by_field = {
        **given,
        "history": [tuple(replace(event, timestamp=None) for event in events) for events in past],
    }
    defaults: dict[str, list[Any]] = {
        "user_id": ["somebody"], "query": [catalogue.names[ids[0]]], "country": ["nowhere"], "source_entity_id": ids,
        "history": [tuple(HistoryEvent(entity_id, 1.0, HOMEPAGE) for entity_id in ids)],
    }  # fmt: skip
    return {
        name: [values[place] for place in _spread(len(values), 5)] or defaults[name]
        for name, values in values_by_field.items()
    }


def _combinations(task: str, samples: Mapping[str, Sequence[Any]]) -> Iterator[Context]:
    """All combinations of given and missing fields; given ones take the samples in turn."""
    for number, given in enumerate(product((False, True), repeat=len(FIELDS))):
        chosen = {
            name: samples[name][number % len(samples[name])]
            for name, is_given in zip(FIELDS, given, strict=True)
            if is_given
        }
        yield Context(task, **chosen)


def _golden_request(
    catalogue: CatalogueRanker, calibration: Calibration, number: int, context: Context
) -> GoldenRequest:
    total = len(catalogue.ids)
    rows = np.unique((_spread(total, CANDIDATES) + number) % total)
    logits = catalogue.logits(catalogue.encode_context(catalogue.fill(context)), rows)
    scores = calibration.probability(context.task, logits, context.history)
    return GoldenRequest(context, catalogue.ids_of(rows), [round(float(score), DIGITS) for score in scores])


def _spread(total: int, count: int) -> np.ndarray:
    """At most `count` evenly spaced integers from 0 to `total` - 1."""
    return np.unique(np.linspace(0, total - 1, min(total, count)).astype(np.int64))
