"""Fetching and computing records obeys the deadline of a ranking: it runs in parts, stops in time, is priced by
admission control, and is not done for nobody.
"""

from __future__ import annotations

import asyncio
import time

import pytest
from app_fakes import Clock, FakeModel, app_of, client_of
from prometheus_client import CollectorRegistry

from app.entities.computed import PART
from app.entities.memory import MemoryTier
from app.entities.store import EntityStore
from app.entities.tier import TierError
from app.execution.admission import AdmissionControl, Load, Priority
from app.execution.worker_thread import WorkerThread
from app.observability.metrics import Metrics
from model.artefact.model import Artefact

pytestmark = pytest.mark.anyio

REFUSED = "redis://127.0.0.1:1"
MANY = 2_000
GRACE_S = 0.15  # a busy machine of tests; `make chaos` measures what it is on a quiet one


class SlowTower(FakeModel):
    """A tower that takes a while for each record: two milliseconds, or what a fake clock says."""

    def __init__(self, films: int = MANY, clock: Clock | None = None, part_s: float = 0.0) -> None:
        super().__init__(films)
        self.clock, self.part_s, self.calls = clock, part_s, 0

    def compute_records(self, entity_ids):
        self.calls += 1
        if self.clock is None:
            time.sleep(0.002 * len(entity_ids))
        else:
            self.clock.now += self.part_s
        return super().compute_records(entity_ids)


class NoRedis:
    """A tier that fails at once."""

    async def get(self, entity_ids, within_s):
        raise TierError("there is none")

    async def put(self, records):
        raise TierError("there is none")

    async def close(self):
        pass


@pytest.fixture
def clock() -> Clock:
    return Clock()


def store_of(model: FakeModel, load: Load, memory: int = 0) -> EntityStore:
    metrics = Metrics(CollectorRegistry())
    return EntityStore(model, MemoryTier(memory), memory, NoRedis(), WorkerThread(), metrics, load)


def cold(model: FakeModel, **changes: object):
    """An application that has to compute every record."""
    return app_of(model, redis_url=REFUSED, **{"memory_entities": 0, **changes})


async def timed(client, path: str = "/v1/rank", **body: object) -> tuple[int, dict, float]:
    began = time.monotonic()
    response = await client.post(path, json=body)
    return response.status_code, response.json(), time.monotonic() - began


# ---- through the service ------------------------------------------------------------------------------------


async def test_what_was_not_gathered_in_time_goes_last_without_a_score():
    model = SlowTower()
    ids = [*model.entities, "nobody"]
    async with client_of(cold(model)) as client:
        body = {"context": {"task": "search", "query": "toy"}, "candidates": ids, "timeout_ms": 200}
        status, answer, seconds = await timed(client, **body)
    assert (status, answer["degraded"]) == (200, ["cache_unavailable", "deadline"])
    assert seconds < 0.2 + GRACE_S
    scored = answer["coverage"]["scored"]
    assert answer["coverage"]["requested"] == MANY + 1
    assert 0 < scored < MANY / 4
    assert answer["unknown"] == ["nobody"]
    items = answer["items"]
    assert [item["score"] is None for item in items] == [False] * scored + [True] * (MANY + 1 - scored)
    assert {item["id"] for item in items[:scored]} == set(ids[:scored])
    assert [item["id"] for item in items[scored:]] == ids[scored:]


async def test_eight_rankings_at_once_end_in_time_and_leave_no_work_behind():
    model = SlowTower(8 * MANY)
    ids = list(model.entities)
    async with client_of(cold(model)) as client:
        asks = [
            {"context": {"task": "search"}, "candidates": ids[start : start + MANY], "limit": 5, "timeout_ms": 200}
            for start in range(0, len(ids), MANY)
        ]
        answers = await asyncio.gather(*(timed(client, **ask) for ask in asks))
        done = len(model.computed)
        await client._transport.app.state.serving.serving.store.settle()
    assert {status for status, _, _ in answers} <= {200, 503}
    assert any(status == 200 for status, _, _ in answers)
    assert max(seconds for _, _, seconds in answers) < 0.2 + GRACE_S
    assert len(model.computed) <= done + PART, "at most the part that had begun"


async def test_a_ranking_that_would_get_no_record_in_time_is_refused_and_others_are_not():
    model = SlowTower(MANY)
    ids = list(model.entities)
    async with client_of(cold(model, memory_entities=100)) as client:
        body = {"context": {"task": "homepage"}, "limit": 1}
        assert (await timed(client, **body, candidates=ids[-80:]))[0] == 200  # measured, and in memory from now on
        first = asyncio.create_task(timed(client, **body, candidates=ids[:1_000], timeout_ms=1_000))
        while not len(model.computed) > 80:
            await asyncio.sleep(0.01)
        refused, problem, seconds = await timed(client, **body, candidates=ids[1_000:1_900], timeout_ms=200)
        held = await timed(client, **body, candidates=ids[-80:], timeout_ms=200)
        higher = await timed(client, **body, candidates=ids[1_000:1_900], timeout_ms=200, priority="high")
        assert refused == 503
        assert problem["type"] == "urn:unirank:problem:overloaded"
        assert seconds < 0.15
        assert (held[0], held[1]["coverage"]["scored"]) == (200, 80)
        assert (higher[0], higher[1]["degraded"]) == (200, ["cache_unavailable", "deadline"])
        assert (await first)[0] == 200


async def test_all_rows_of_a_homepage_share_one_deadline():
    model = SlowTower()
    ids = list(model.entities)
    rows = [{"row_id": str(row), "candidates": ids[row * 200 : row * 200 + 200]} for row in range(10)]
    async with client_of(cold(model)) as client:
        status, answer, seconds = await timed(client, "/v1/homepage", rows=rows, rank_rows=False, timeout_ms=200)
    assert status == 200
    assert seconds < 0.2 + GRACE_S
    assert all("deadline" in row["degraded"] for row in answer["rows"])
    assert answer["rows"][0]["items"][0]["score"] is not None
    assert all(item["score"] is None for item in answer["rows"][-1]["items"])


async def test_a_real_model_keeps_to_the_deadline_too(artefact: Artefact):
    ids = list(artefact.catalogue.ids)
    body = {"context": {"task": "search", "query": "a"}, "candidates": ids}
    async with client_of(cold(artefact)) as client:
        whole = (await timed(client, **body))[1]
        status, hurried, seconds = await timed(client, **body, timeout_ms=15)
    assert (whole["degraded"], whole["coverage"]["scored"]) == (["cache_unavailable"], len(ids))
    assert status in (200, 503), "a busy machine may need those milliseconds to read the body"
    assert seconds < 0.015 + GRACE_S
    scores = {item["id"]: item["score"] for item in whole["items"]}
    scored = [item for item in hurried.get("items", []) if item["score"] is not None]
    assert all(item["score"] == pytest.approx(scores[item["id"]], abs=1e-6) for item in scored), "sums of fewer rows"


# ---- the store ----------------------------------------------------------------------------------------------


async def test_gathering_stops_after_the_part_in_which_the_time_passed(clock):
    model = SlowTower(400, clock, part_s=0.05)
    store = store_of(model, Load(clock))
    ids = list(model.entities)
    gathered = await store.gather([*ids[:300], "nobody"], ids[300:310], clock.now + 0.12)
    assert model.calls == 3
    assert gathered.context.ids == ids[300:310], "the history first: without it no score is what it should be"
    assert [entity_id for entity_id, _ in gathered.candidates] == ids[: 3 * PART - 10]
    assert gathered.late == frozenset(ids[3 * PART - 10 : 300])
    assert gathered.unknown == ["nobody"]


async def test_without_any_time_no_record_is_fetched_or_computed(clock):
    model = SlowTower(100, clock)
    gathered = await store_of(model, Load(clock)).gather(list(model.entities), (), clock.now)
    assert (len(gathered.late), model.calls, gathered.degraded, gathered.hopeless) == (100, 0, False, False)


async def test_records_that_fit_into_the_time_are_all_returned_in_time(clock):
    model = SlowTower(4 * PART, clock, part_s=0.01)
    gathered = await store_of(model, Load(clock)).gather(list(model.entities), (), clock.now + 0.035)
    assert (len(gathered.candidates), gathered.late) == (4 * PART, frozenset())


async def test_parts_count_as_load_until_they_end_and_shared_ones_once(clock):
    load = Load(clock)
    model = SlowTower(10 * PART)
    store = store_of(model, load)
    ids = list(model.entities)
    both = [asyncio.create_task(store.gather(ids, priority=Priority.NORMAL)) for _ in range(2)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert load.under_way == [0, 10, 0]
    for task in both:
        await task
    assert load.under_way == [0, 0, 0]
    assert model.computed == ids


async def test_a_part_that_nobody_waits_for_is_not_begun_and_one_that_has_begun_is_kept():
    model = SlowTower(4 * PART)
    store = store_of(model, Load(time.monotonic), memory=2 * PART)
    ids = list(model.entities)
    gone = asyncio.create_task(store.gather(ids[:PART]))
    while not model.calls:
        await asyncio.sleep(0.001)
    behind = asyncio.create_task(store.gather(ids[PART:]))
    await asyncio.sleep(0.005)
    gone.cancel()
    behind.cancel()
    stays = await store.gather(ids[:PART])  # joins what has begun
    await store.settle()
    assert len(stays.candidates) == PART
    assert model.computed == ids[:PART]


async def test_a_failing_computation_fails_the_callers_who_wait_and_none_later():
    model = SlowTower(PART)
    store = store_of(model, Load(time.monotonic))
    ids = list(model.entities)
    broken, model.record = model.record, None
    with pytest.raises(TypeError):
        await store.gather(ids)
    model.record = broken
    assert len((await store.gather(ids)).candidates) == PART


# ---- the price ----------------------------------------------------------------------------------------------


def test_records_in_computation_delay_only_rankings_that_need_records(clock):
    admission = AdmissionControl(1_000, clock, Metrics(CollectorRegistry()))
    admission.records.measured(1, 0.1)
    admission.records.move(Priority.NORMAL, 20)
    assert admission.records.wait_s(Priority.NORMAL) == pytest.approx(2.0)
    assert admission.records.wait_s(Priority.HIGH) == 0
    assert admission.wait_s(Priority.LOW) == 0
    assert admission.records_refusal(Priority.NORMAL).headers() == {"retry-after": "2"}


def test_retrieval_in_progress_delays_every_ranking_behind_it(clock):
    admission = AdmissionControl(1_000, clock, Metrics(CollectorRegistry()))
    admission.proposals.measured(1, 0.5)
    with admission.proposals.one(Priority.HIGH), admission.proposals.one(Priority.NORMAL):
        assert admission.wait_s(Priority.HIGH) == pytest.approx(0.5)
        assert admission.wait_s(Priority.NORMAL) == pytest.approx(1.0)
    assert admission.wait_s(Priority.LOW) == 0


async def test_a_ranking_stopped_early_does_not_raise_the_cost_estimate():
    model = SlowTower()
    model.chunk_s = 0.02
    app = cold(model)
    async with client_of(app) as client:
        ids = list(model.entities)
        assert (await timed(client, context={"task": "search"}, candidates=ids, timeout_ms=200))[1]["degraded"]
    assert model.scored > 0
    assert app.state.serving.admission.scoring.unit_s == 0
    assert app.state.serving.admission.records.unit_s > 0


async def test_a_shadow_model_does_not_count_as_load():
    live = app_of(FakeModel()).state.serving
    shadow, served = live.build_shadow(FakeModel()), live.serving
    assert shadow.service.admission is not live.admission
    assert served.service.admission is live.admission
