"""Turns a filled context and records into the tensors of the ranker. Training and serving use the same code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from model.catalogue.records import Records
from model.context.context import FilledContext, HistoryEvent
from model.features.history import Profile, empty_profile
from model.features.match import MatchFeatures
from model.network.collate import EncodedContext, collate
from model.network.fast.context_side import ContextArrays
from model.network.ranker import ContextBatch

Floats = NDArray[np.float32]


class ContextEncoder:
    """Encodes contexts with the tasks, users and countries of an artefact. Unknown users and countries become null.

    `tastes` [T, countries, Dz]: the taste of each country, for each table of outcomes; serving has one table.
    """

    def __init__(
        self,
        matcher: MatchFeatures,
        tasks: Sequence[str],
        users: Sequence[str],
        countries: Sequence[str],
        tastes: Floats,
    ) -> None:
        self.matcher = matcher
        self.tastes = tastes
        self.tasks = {name: number for number, name in enumerate(tasks)}
        self.users = {name: number + 1 for number, name in enumerate(users)}
        self.countries = {name: number + 1 for number, name in enumerate(countries)}

    def from_records(
        self,
        filled: FilledContext,
        source: Records | None,
        events: Sequence[HistoryEvent],
        history: Records | None,
        table: int = -1,
    ) -> EncodedContext:
        """Encode a context. `history`: records of `events`, oldest first, or None. `table` = an outcome table."""
        context = filled.context
        user = self.users.get(context.user_id or "", 0)
        country = self.countries.get(context.country or "", 0)
        missing = (
            float(context.query is not None),
            float(context.query is not None and not filled.is_given("query")),
            float(source is not None),
            float(source is not None and not filled.is_given("source_entity_id")),
            float(user > 0),
            float(country > 0),
            float(history is not None),
        )
        kinds = [2 * self.tasks.get(event.task, 0) + (event.label > 0) for event in events]
        profile = self._profile(events, history)
        return EncodedContext(
            filled,
            self.tasks[context.task],
            user,
            country,
            missing,
            replace(self.matcher.encode_query(context.query), given=filled.is_given("query")),
            source,
            history,
            np.array(kinds, np.int64),
            profile if not country else replace(profile, country=self.tastes[table, country - 1]),
        )

    def _profile(self, events: Sequence[HistoryEvent], history: Records | None) -> Profile:
        if history is None:
            encoder = self.matcher.encoder
            return empty_profile(self.tastes.shape[-1], encoder.vectors.width, len(encoder.numbers))
        return self.matcher.encode_history(history, np.array([event.label for event in events], np.float32))


def serving_batch(context: EncodedContext, width: int, length: int, device: torch.device) -> ContextBatch:
    """A batch of one context, with entity vectors from its records and at most the `length` newest events."""
    source = torch.zeros(1, width) if context.source is None else torch.from_numpy(context.source.vector)
    count = 0 if context.history is None else min(len(context.history), length)
    history = torch.zeros(1, max(count, 1), width)
    kinds = torch.zeros(1, max(count, 1), dtype=torch.long)
    present = torch.zeros(1, max(count, 1), dtype=torch.bool)
    if context.history is not None:
        newest = context.history.vector[-count:][::-1].copy()
        history[0] = torch.from_numpy(newest)
        kinds[0] = torch.from_numpy(context.kinds[-count:][::-1].copy())
        present[0] = True
    return collate([context], source.to(device), history.to(device), kinds.to(device), present.to(device))


def context_arrays(context: EncodedContext, width: int, length: int) -> ContextArrays:
    """One context as arrays, for the folded pass; at most the `length` newest events."""
    history = np.zeros((0, width), np.float32) if context.history is None else context.history.vector[-length:][::-1]
    return ContextArrays(
        context.task,
        context.user,
        context.country,
        np.array(context.missing, np.float32),
        context.query.text,
        context.profile.text.ravel(),
        np.zeros(width, np.float32) if context.source is None else context.source.vector[0],
        history,
        context.kinds[-length:][::-1],
    )
