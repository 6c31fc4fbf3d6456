"""One `POST /v1/rank` passes from its route through eight files, in one direction: none is entered twice."""

from __future__ import annotations

import pytest
from app_fakes import FakeModel, app_of, client_of
from call_path import path_through

pytestmark = pytest.mark.anyio
ROUTE = "app/api/v1/rank.py"
PATH = [
    "app/api/endpoint.py",
    "app/api/v1/requests.py",
    "app/ranking/service.py",
    "app/ranking/candidates.py",
    "app/ranking/records.py",
    "app/ranking/scoring.py",
    "app/ranking/rules/apply.py",
    "app/api/v1/responses.py",
]
GIVEN = {"context": {"task": "search", "query": "toy"}, "candidates": ["f1", "f2"]}
PROPOSED = {"context": {"task": "homepage", "user_id": "u1"}}


@pytest.mark.parametrize("body", [GIVEN, PROPOSED])
async def test_a_ranking_passes_through_eight_files_each_entered_once(body: dict[str, object]) -> None:
    async with client_of(app_of(FakeModel())) as client:
        await client.post("/v1/rank", json=body)  # what is made once is made
        with path_through([ROUTE, *PATH]) as path:
            response = await client.post("/v1/rank", json=body)
    assert response.status_code == 200
    assert path == [ROUTE, *PATH]
