"""Homepage rows come in order of their scores, show each entity once, are refilled, and have titles, which
are logged."""

from __future__ import annotations

import time

import pytest
from app_fakes import FakeModel, app_of, client_of
from event_bodies import ENGAGED, stored

pytestmark = pytest.mark.anyio

ROWS = [
    {"row_id": "low", "candidates": ["f50", "f51", "f0", "f1"], "limit": 2},
    {"row_id": "high", "candidates": ["f0", "f1", "f2", "f3"], "limit": 2},
]


@pytest.fixture
async def client(tmp_path):
    async with client_of(app_of(FakeModel(), state_dir=str(tmp_path))) as client:
        yield client


async def homepage(client, **body: object) -> dict:
    response = await client.post("/v1/homepage", json=body)
    assert response.status_code == 200, response.text
    return response.json()


def shown(answer: dict) -> dict[str, list[str]]:
    return {row["row_id"]: [item["id"] for item in row["items"]] for row in answer["rows"]}


async def test_answer_has_exactly_the_documented_names(client):
    answer = await homepage(client, user_id="u1", rows=ROWS)
    assert list(answer) == ["request_id", "model", "rows", "took_ms"]
    assert list(answer["rows"][0]) == ["row_id", "rank", "ranking_id", "context", "items", "degraded"]
    assert len({row["ranking_id"] for row in answer["rows"]}) == 2


async def test_rows_without_overlap_are_ordered_by_their_top_scores(client):
    rows = [
        {"row_id": "low", "candidates": ["f50", "f51"]},
        {"row_id": "high", "candidates": ["f2", "f40", "f41"], "limit": 1},
        {"row_id": "nothing", "candidates": ["x"]},
    ]
    answer = await homepage(client, rows=rows)
    assert [(row["row_id"], row["rank"]) for row in answer["rows"]] == [
        ("high", 1),
        ("low", 2),
        ("nothing", 3),
    ]


async def test_rows_keep_the_given_order_on_request(client):
    answer = await homepage(client, rows=ROWS, rank_rows=False)
    assert [row["row_id"] for row in answer["rows"]] == ["low", "high"]


async def test_the_higher_row_keeps_an_entity_and_the_lower_is_refilled(client):
    assert shown(await homepage(client, rows=ROWS)) == {"low": ["f0", "f1"], "high": ["f2", "f3"]}
    answer = await homepage(client, rows=ROWS, exclude=["f0"])
    assert shown(answer) == {"high": ["f1", "f2"], "low": ["f50", "f51"]}
    assert [item["rank"] for item in answer["rows"][1]["items"]] == [1, 2]


async def test_duplicates_are_kept_on_request(client):
    answer = await homepage(client, rows=ROWS, dedupe=False)
    assert shown(answer) == {"low": ["f0", "f1"], "high": ["f0", "f1"]}


async def test_rows_without_candidates_are_retrieved_and_share_no_entity(client):
    answer = await homepage(client, user_id="u1", rows=[{"row_id": "a", "limit": 30}, {"row_id": "b", "limit": 30}])
    first, second = shown(answer).values()
    assert (len(first), len(second)) == (30, 27)
    assert not set(first) & set(second)
    assert not {"f3", "f5", "f7"} & {*first, *second}


async def test_a_title_fills_the_query_of_its_row(client):
    answer = await homepage(client, user_id="u1", rows=[{"row_id": "a", "title": "Ghost Night!", "limit": 3}])
    assert answer["rows"][0]["context"]["imputed"]["query"] == {"value": "ghost night", "rule": "row_title"}


async def test_titles_are_logged_by_ranking_without_user_and_query(client, tmp_path):
    rows = [{"row_id": "a", "title": "Ghost Night!"}, {"row_id": "b", "title": " "}, {"row_id": "c"}]
    answer = await homepage(client, user_id="u1", query="toy", rows=rows)
    ranking_id = next(row["ranking_id"] for row in answer["rows"] if row["row_id"] == "a")
    await client.post("/v1/events", json=[ENGAGED])  # acknowledged after all entries before it
    title, engaged = stored(tmp_path)
    assert title.pop("timestamp") == pytest.approx(time.time() * 1000, abs=60_000)
    assert title == {"type": "row_title", "task": "homepage", "ranking_id": ranking_id, "row_title": "Ghost Night!"}
    assert engaged == ENGAGED


async def test_rows_without_a_title_log_nothing(client, tmp_path):
    await homepage(client, user_id="u1", rows=ROWS)
    await client.post("/v1/events", json=[ENGAGED])
    assert stored(tmp_path) == [ENGAGED]


async def test_a_log_that_cannot_be_written_does_not_disturb_titled_rows(tmp_path):
    (tmp_path / "events").write_text("no folder")
    async with client_of(app_of(FakeModel(), state_dir=str(tmp_path))) as client:
        rows = [{"row_id": "a", "title": "Ghost Night!", "limit": 3}]
        assert len(shown(await homepage(client, rows=rows))["a"]) == 3


async def test_a_request_without_rows_gets_one_row(client):
    assert list(shown(await homepage(client))) == ["home"]
    assert (await client.post("/v1/homepage")).status_code == 200


@pytest.mark.parametrize(
    ("rows", "pointer"),
    [
        ([], "/rows"),
        ([{"row_id": "a"}, {"row_id": "a"}], "/rows/1/row_id"),
        ([{"row_id": "a", "candidates": []}], "/rows/0/candidates"),
        ([{"row_id": "a", "filter": {"year": 1999}}], "/rows/0/filter"),
        ([{"row_id": "a", "limit": 0}], "/rows/0/limit"),
        ([{"title": "a"}], "/rows/0/row_id"),
        ([{"row_id": str(number)} for number in range(51)], "/rows"),
    ],
)
async def test_bad_rows_are_refused_with_a_pointer(client, rows, pointer):
    response = await client.post("/v1/homepage", json={"rows": rows})
    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == pointer
