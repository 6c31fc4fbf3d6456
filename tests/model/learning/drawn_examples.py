"""A sampler over thirty entities that drops nothing, and the examples that it draws. No test."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from model.config import TrainingConfig
from model.context.context import Context
from model.context.imputation import DEFAULT_RULES
from model.events.timelines import LabelledRanking, Timeline
from model.learning.row_titles import RowTitles
from model.learning.sampling import ContextExample, Sampler

NOTHING_DROPPED = TrainingConfig(
    contexts_per_step=24, negatives=12, folds=3,
    user_dropout=0, history_dropout=0, country_dropout=0, name_query_dropout=0, borrowed_user=0, name_searches=0,
)  # fmt: skip
IDS = [f"e{number}" for number in range(30)]
ROWS = {entity_id: row for row, entity_id in enumerate(IDS)}
NAMES = {entity_id: f"name {entity_id}" for entity_id in IDS}


def sampler_of(
    rankings: list[LabelledRanking],
    histories: dict[str, Timeline] | None = None,
    titles: RowTitles | None = None,
    **changes: float,
) -> Sampler:
    config = replace(NOTHING_DROPPED, **changes)
    return Sampler(rankings, histories or {}, ROWS, NAMES, DEFAULT_RULES, config, titles=titles)


def ranking(context: Context, labels: dict[str, float], times: list[int], slate: bool = False) -> LabelledRanking:
    return LabelledRanking(context, tuple(labels), np.array(list(labels.values())), np.array(times, np.int64), slate)


def drawn(sampler: Sampler, task: str, times: int = 20, seed: int = 0) -> list[ContextExample]:
    rng = np.random.default_rng(seed)
    return [example for _ in range(times) for example in sampler.draw(task, rng)]
