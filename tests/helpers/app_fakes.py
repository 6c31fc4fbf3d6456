"""Fakes for the tests of the service: a model of sixty films, a clock, an application. Tests nothing."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import numpy as np
import numpy.typing as npt
import pytest
from fastapi import FastAPI

from app.main import create_app
from app.settings import PREFIX, Settings
from model.catalogue.records import NamedRecords
from model.context.context import TASKS, Context, FilledContext, HistoryEvent
from model.context.imputation import DEFAULT_RULES, fill

FILMS = 60
NOUNS = ("Toy", "Star", "Night", "River", "Ghost", "City")
HISTORIES = {
    "u1": tuple(HistoryEvent(f"f{number}", 1.0, "homepage", number) for number in (3, 5, 7)),
    "u2": (HistoryEvent("f10", 1.0, "homepage", 1), HistoryEvent("f11", 0.0, "search", 2)),
}


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class FakeRecords(list[list[str]]):
    """Records of the fake model: [id, name] each."""

    def part(self, start: int, end: int) -> FakeRecords:
        return FakeRecords(self[start:end])


@dataclass
class EncodedContext:
    """What the fake model reads of a context: words of the query, and how many records of its entities there are."""

    words: set[str]
    beside: int


class FakeModel:
    """Logit = words that query and name share, plus a little for popularity. Counts what it is asked."""

    version = "v-fake"
    checksum = "c0ffee"
    tasks = TASKS

    def __init__(self, films: int = FILMS) -> None:
        self.entities = {f"f{n}": _film(n) for n in range(films)}
        self.computed: list[str] = []
        self.scored = 0
        self.infinite: set[str] = set()
        self.chunk_s = 0.0
        self.propose_s = 0.0
        self.compute_s = 0.0
        self.crash: Exception | None = None
        self.met: dict[str, list[int]] = {}

    @property
    def entity_count(self) -> int:
        return len(self.entities)

    def fill(self, context: Context) -> FilledContext:
        return fill(context, DEFAULT_RULES, self._name)

    def understood(self, filled: FilledContext) -> dict[str, object]:
        return {}

    def _name(self, entity_id: str) -> str | None:
        film = self.entities.get(entity_id)
        return str(film["display_name"]) if film else None

    def entity(self, entity_id: str) -> dict[str, object] | None:
        return self.entities.get(entity_id)

    def history(self, user_id: str) -> tuple[HistoryEvent, ...]:
        return HISTORIES.get(user_id, ())

    def seen(self, user_id: str) -> npt.NDArray[np.int64]:
        return np.array(self.met.get(user_id, []), np.int64)

    def sample_users(self, count: int) -> list[str]:
        return list(HISTORIES)[:count]

    def context_entities(self, context: Context) -> list[str]:
        source = [context.source_entity_id] if context.source_entity_id else []
        return [*source, *(event.entity_id for event in context.history[-50:])]

    def record(self, entity_id: str) -> bytes | None:
        film = self.entities.get(entity_id)
        return json.dumps([entity_id, film["display_name"]]).encode() if film else None

    def find(self, entity_ids: Sequence[str]) -> npt.NDArray[np.int64]:
        places = {entity_id: place for place, entity_id in enumerate(self.entities)}
        return np.array([places.get(entity_id, -1) for entity_id in entity_ids], np.int64)

    def records_at(self, rows: npt.NDArray[np.int64]) -> FakeRecords:
        ids = list(self.entities)
        return self.unpack([self.record(ids[row]) or b"" for row in rows])

    def unpack(self, packed: Sequence[bytes]) -> FakeRecords:
        return FakeRecords(json.loads(blob) for blob in packed)

    def compute_records(self, entity_ids: Sequence[str]) -> list[bytes | None]:
        time.sleep(self.compute_s)
        self.computed.extend(entity_ids)
        return [self.record(entity_id) for entity_id in entity_ids]

    def encode_context(
        self, filled: FilledContext, gathered: NamedRecords[FakeRecords] | None = None
    ) -> EncodedContext:
        beside = len(self.context_entities(filled.context)) if gathered is None else len(gathered.records)
        return EncodedContext(set((filled.context.query or "").split()), beside)

    def propose(
        self, context: EncodedContext, limit: int, exclude: Collection[str], seen: npt.NDArray[np.int64]
    ) -> list[str]:
        time.sleep(self.propose_s)
        barred = {*exclude, *(f"f{row}" for row in seen.tolist())}
        return [entity_id for entity_id in self.entities if entity_id not in barred][:limit]

    def prepare(self, context: EncodedContext) -> Callable[[FakeRecords], npt.NDArray[np.float32]]:
        def score(candidates: FakeRecords) -> npt.NDArray[np.float32]:
            if self.crash is not None:
                raise self.crash
            time.sleep(self.chunk_s)
            self.scored += len(candidates)
            return np.array([self._logit(*record, context.words, context.beside) for record in candidates], np.float32)

        return score

    def _logit(self, entity_id: str, name: str, words: set[str], beside: int) -> float:
        if entity_id in self.infinite:
            return math.nan
        number = int(entity_id[1:])
        return 2.0 * len(words & set(name.lower().split())) - (number // 2) / 50 + beside / 100

    def probability(self, context: Context, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.floating]:
        return 1 / (1 + np.exp(-logits.astype(np.float64)))


def _film(number: int) -> dict[str, object]:
    name = f"{NOUNS[number % len(NOUNS)]} Story {number}"
    genres = ["Drama", "Comedy"][: 1 + number % 2]
    return {"entity_id": f"f{number}", "display_name": name, "year": 1950 + number, "genres": genres}


def settings(**changes: object) -> Settings:
    """Settings of a test; the environment of the tester does not matter."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.upper().startswith(PREFIX)]:
            patch.delenv(name)
        return Settings.model_validate(changes)


def app_of(model: FakeModel | None = None, **changes: object) -> FastAPI:
    """An application around a fake model that is live."""
    return create_app(settings(**changes), model or FakeModel())


@asynccontextmanager
async def client_of(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a running application: its lifespan begins and ends with the block."""
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://test") as client,
    ):
        yield client
