"""Events for `POST /v1/events`, and what the log holds of them afterwards. Tests nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from app_fakes import app_of, client_of

from app.events.export import export

ENGAGED = {"type": "engagement", "timestamp": 1_700_000_000_000, "task": "search", "user_id": "u1", "query": "toy",
           "entity_id": "f3", "label": 1.0}  # fmt: skip
SHOWN = {"type": "impression", "timestamp": 1_700_000_000_000, "task": "homepage", "user_id": "u1",
         "shown": ["f1", "f2"], "ranking_id": "r"}  # fmt: skip


async def post(state: Path, body: bytes, **changes: object) -> Any:
    """The answer of a service with this state folder to a body."""
    async with client_of(app_of(state_dir=str(state), **changes)) as client:
        return await client.post("/v1/events", content=body)


def stored(state: Path) -> list[dict[str, Any]]:
    """All events that the log in a state folder holds, oldest first."""
    if not (state / "events").exists():
        return []
    export(state / "events", state / "out")
    return [json.loads(line) for line in (state / "out").read_text().splitlines()]
