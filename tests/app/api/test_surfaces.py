"""Each ranking endpoint answers as API.md documents: names, defaults, order, paging, seen entities, unknown ids."""

from __future__ import annotations

import httpx
import pytest
from app_fakes import FakeModel, app_of, client_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def model() -> FakeModel:
    return FakeModel()


@pytest.fixture
async def client(model: FakeModel):
    async with client_of(app_of(model)) as client:
        yield client


async def rank(client: httpx.AsyncClient, **body: object) -> dict:
    context = body.pop("context", {"task": "search", "query": "toy"})
    response = await client.post("/v1/rank", json={"context": context, **body})
    assert response.status_code == 200, response.text
    return response.json()


def ids(answer: dict) -> list[str]:
    return [item["id"] for item in answer["items"]]


async def test_rank_answers_exactly_the_documented_names(client):
    answer = await rank(client, candidates=["f1", {"id": "f6"}], **{"return": ["display_name", "year"]})
    assert list(answer) == [
        "request_id",
        "ranking_id",
        "task",
        "model",
        "items",
        "context",
        "unknown",
        "degraded",
        "coverage",
        "took_ms",
        "timings",
    ]
    assert answer["items"][0] == {
        "id": "f6",
        "rank": 1,
        "score": pytest.approx(0.874, abs=0.001),
        "entity": {"display_name": "Toy Story 6", "year": 1956},
    }
    assert answer["model"] == {"version": "v-fake", "checksum": "c0ffee"}
    assert answer["coverage"] == {"requested": 2, "scored": 2}
    assert list(answer["timings"]) == ["parse", "records", "score", "rerank"]
    assert sum(answer["timings"].values()) <= answer["took_ms"]


async def test_the_answer_names_what_was_imputed_and_by_which_rule(client):
    answer = await rank(client, context={"task": "more_like_this", "source_entity_id": "f6"}, candidates=["f1"])
    assert answer["context"]["used"]["query"] == "toy story 6"
    assert answer["context"]["imputed"] == {
        "query": {"value": "toy story 6", "rule": "source_display_name"},
        "user_id": {"value": None, "rule": "null_user"},
        "country": {"value": None, "rule": "null_country"},
    }


async def test_entity_is_absent_unless_fields_are_asked_for(client):
    assert "entity" not in (await rank(client, candidates=["f1"]))["items"][0]


async def test_a_field_that_an_entity_lacks_is_null(client):
    answer = await rank(client, candidates=["f1"], **{"return": ["colour"]})
    assert answer["items"][0]["entity"] == {"colour": None}


async def test_ties_keep_the_order_of_the_input(client):
    assert ids(await rank(client, candidates=["f3", "f2", "f1"])) == ["f1", "f3", "f2"]
    assert ids(await rank(client, candidates=["f2", "f3", "f1"])) == ["f1", "f2", "f3"]


async def test_a_duplicate_is_scored_once_at_its_first_place(client, model):
    answer = await rank(client, candidates=["f2", "f3", "f2"])
    assert ids(answer) == ["f2", "f3"]
    assert model.scored == 2


async def test_all_given_candidates_come_back_and_ten_of_the_retrieved(client):
    assert len(ids(await rank(client, candidates=[f"f{n}" for n in range(30)]))) == 30
    assert len(ids(await rank(client))) == 10


async def test_pages_join_without_gap_or_overlap(client):
    everything = await rank(client, candidates=[f"f{n}" for n in range(30)])
    page = await rank(client, candidates=[f"f{n}" for n in range(30)], limit=10, offset=10.0)
    assert page["items"] == everything["items"][10:20]
    assert page["items"][0]["rank"] == 11
    assert ids(await rank(client, candidates=["f1"], offset=5)) == []


async def test_retrieval_goes_as_deep_as_the_page(model):
    async with client_of(app_of(model, retrieve_limit=5)) as client:
        assert len(ids(await rank(client, limit=20, offset=10))) == 20


async def test_excluded_entities_are_left_out(client):
    answer = await rank(client, candidates=["f1", "f2"], exclude=["f1"])
    assert ids(answer) == ["f2"]
    assert answer["coverage"] == {"requested": 1, "scored": 1}


@pytest.mark.parametrize(
    ("seen", "expected"),
    [(None, ["f1", "f2", "f3", "f4"]), ("drop", ["f1", "f2", "f4"]), ("demote", ["f1", "f2", "f4", "f3"])],
)
async def test_seen_entities_among_given_candidates_are_kept_demoted_or_dropped(client, seen, expected):
    context = {"task": "search", "user_id": "u1"}
    assert ids(await rank(client, context=context, candidates=["f1", "f2", "f3", "f4"], seen=seen)) == expected


async def test_seen_entities_are_dropped_from_a_retrieved_homepage(client):
    homepage = await rank(client, context={"task": "homepage", "user_id": "u1"}, limit=60)
    assert len(homepage["items"]) == 57
    search = await rank(client, context={"task": "search", "user_id": "u1"}, limit=60)
    assert len(search["items"]) == 60


async def test_a_history_in_the_request_replaces_the_stored_one(client):
    context = {"task": "homepage", "user_id": "u1", "history": ["f20", {"entity_id": "f21", "label": 0}]}
    answer = await rank(client, context=context, limit=60)
    assert not {"f20", "f21"} & set(ids(answer))
    assert {"f3", "f5", "f7"} <= set(ids(answer))
    assert answer["context"]["used"]["source_entity_id"] == "f20"


async def test_a_history_with_times_is_put_in_order_of_time(client):
    events = [{"entity_id": "f20", "timestamp": 9}, {"entity_id": "f21", "timestamp": 8}]
    answer = await rank(client, context={"task": "homepage", "history": events})
    assert answer["context"]["used"]["source_entity_id"] == "f20"


async def test_an_empty_history_in_the_request_replaces_the_stored_one(client):
    answer = await rank(client, context={"task": "homepage", "user_id": "u1", "history": []})
    assert answer["context"]["imputed"]["source_entity_id"]["rule"] == "null_source"


async def test_unknown_ids_go_last_in_order_of_the_input(client):
    answer = await rank(client, candidates=["x2", "f1", "x1"])
    assert ids(answer) == ["f1", "x2", "x1"]
    assert answer["items"][1] == {"id": "x2", "rank": 2, "score": None}
    assert answer["unknown"] == ["x2", "x1"]
    assert answer["coverage"] == {"requested": 3, "scored": 1}


async def test_unknown_ids_can_be_dropped(client):
    answer = await rank(client, candidates=["x2", "f1"], unknown="drop")
    assert ids(answer) == ["f1"]
    assert answer["unknown"] == ["x2"]


@pytest.mark.parametrize(("unknown", "code"), [("error", "unknown_entity"), ("score", "not_supported")])
async def test_unknown_ids_can_fail_the_request(client, unknown, code):
    body = {"context": {"task": "search"}, "candidates": ["f1", "x"], "unknown": unknown}
    response = await client.post("/v1/rank", json=body)
    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == "/candidates/1"
    assert response.json()["errors"][0]["code"] == code


async def test_a_request_of_unknown_ids_alone_is_answered(client):
    answer = await rank(client, candidates=["x"])
    assert answer["items"] == [{"id": "x", "rank": 1, "score": None}]


async def test_scores_do_not_depend_on_the_other_candidates(client):
    together = await rank(client, candidates=["f1", "f6"])
    alone = await rank(client, candidates=["f6"])
    assert alone["items"][0]["score"] == together["items"][0]["score"]


async def test_search_by_body_and_by_link_agree(client):
    body = {"query": "toy", "user_id": "u1", "limit": 3, "return": ["display_name", "year"]}
    by_body = (await client.post("/v1/search", json=body)).json()
    by_link = (await client.get("/v1/search?q=toy&user_id=u1&limit=3&return=display_name,year&country=")).json()
    assert by_link["items"] == by_body["items"]
    assert by_link["task"] == "search"
    assert by_link["items"][0]["entity"]["display_name"] == "Toy Story 0"


@pytest.mark.parametrize("query", ["", "   ", "\u202eyot", "🎬 фильм", "映画"])
async def test_queries_of_any_script_are_answered(client, query):
    for answer in (
        await client.post("/v1/search", json={"query": query}),
        await client.get("/v1/search", params={"q": query}),
    ):
        assert answer.status_code == 200
        rule = answer.json()["context"]["imputed"].get("query", {}).get("rule")
        assert rule == (None if query.strip() else "null_query")


@pytest.mark.parametrize("body", [b"", b"{}", b'{"limit": 10}'])
async def test_more_like_this_needs_no_body_and_leaves_the_source_out(client, body):
    answer = (await client.post("/v1/more-like-this/f6", content=body)).json()
    assert answer["task"] == "more_like_this"
    assert answer["items"][0]["id"] == "f0"
    assert len(answer["items"]) == 10
    assert "f6" not in ids(answer)


async def test_an_unknown_source_is_404_in_a_path_and_422_in_a_body(client):
    assert (await client.post("/v1/more-like-this/nope")).status_code == 404
    context = {"task": "more_like_this", "source_entity_id": "nope"}
    response = await client.post("/v1/rank", json={"context": context})
    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == "/context/source_entity_id"


async def test_more_like_this_without_a_source_says_what_is_missing(client):
    response = await client.post("/v1/rank", json={"context": {"task": "more_like_this"}})
    assert response.status_code == 422
    error = response.json()["errors"][0]
    assert (error["pointer"], error["code"]) == ("/context/source_entity_id", "missing_field")


async def test_an_unknown_task_names_the_known_ones(client):
    response = await client.post("/v1/rank", json={"context": {"task": "dance"}})
    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == "/context/task"
    assert "search, homepage, more_like_this" in response.json()["detail"]


async def test_an_entity_can_be_read_back(client):
    answer = await client.get("/v1/entities/f3")
    assert answer.json() == {
        "entity_id": "f3",
        "display_name": "River Story 3",
        "year": 1953,
        "genres": ["Drama", "Comedy"],
    }
    assert (await client.get("/v1/entities/a%2Fb%00c")).status_code == 404


async def test_the_live_model_may_be_named(client):
    assert (await rank(client, candidates=["f1"], model="v-fake"))["items"]
