"""What every refusal has to look like. Tests nothing."""

from __future__ import annotations

import httpx


def assert_problem(response: httpx.Response, status: int) -> dict[str, object]:
    """The problem document of a response with this status; fails where it lacks a member or is not short."""
    assert response.status_code == status, response.text[:500]
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert list(problem) == ["type", "title", "status", "detail", "instance", "errors", "request_id"]
    assert problem["status"] == status
    assert problem["request_id"] == response.headers["x-request-id"]
    assert len(response.content) < 20_000
    return problem
