"""The title that a homepage row was served with reaches training: service, log, export, import, labelled rankings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from app_fakes import FakeModel, app_of, client_of
from typer.testing import CliRunner

from app.cli import app
from app.events.label_join import LabelJoin
from model.context.context import ROW_TITLE
from model.datasets.dataset import Dataset
from model.events.derived import observed
from model.events.timelines import labelled_rankings

AT = 1_700_000_000_000


def impression(ranking_id: str, *shown: str) -> dict[str, Any]:
    return {"type": "impression", "timestamp": AT, "task": "homepage", "user_id": "u1", "ranking_id": ranking_id,
            "shown": list(shown)}  # fmt: skip


def titled(ranking_id: str, title: str) -> dict[str, Any]:
    return {"type": "row_title", "timestamp": AT, "task": "homepage", "ranking_id": ranking_id, "row_title": title}


def joined(*entries: dict[str, Any]) -> tuple[LabelJoin, list[dict[str, Any]]]:
    join = LabelJoin()
    for entry in entries:
        join.add(json.dumps(entry).encode())
    return join, list(join.rows())


async def serve(state: Path, titles: list[str | None]) -> None:
    """Serve one row per title, then log its first two items as shown and engage with the second."""
    rows = [{"row_id": str(place), "title": title, "limit": 2} for place, title in enumerate(titles)]
    async with client_of(app_of(FakeModel(), state_dir=str(state))) as client:
        answer = (await client.post("/v1/homepage", json={"user_id": "u1", "rows": rows, "rank_rows": False})).json()
        for row in answer["rows"]:
            shown = impression(row["ranking_id"], *(item["id"] for item in row["items"]))
            clicked = {"type": "engagement", "entity_id": shown["shown"][1], "label": 1}
            body = [shown, {name: value for name, value in shown.items() if name != "shown"} | clicked]
            assert (await client.post("/v1/events", json=body)).status_code == 202


def run(*arguments: object) -> None:
    ended = CliRunner().invoke(app, [str(one) for one in arguments])
    assert ended.exit_code == 0, ended.output


@pytest.mark.anyio
@pytest.mark.parametrize("titles", [["Ghost Night", "Toys", None, None], [None, "1990", "2001"]])
async def test_served_titles_reach_the_labelled_rankings(tmp_path: Path, titles: list[str | None]) -> None:
    await serve(tmp_path / "state", titles)
    films = ({"entity_id": key, "display_name": film["display_name"]} for key, film in FakeModel().entities.items())
    (tmp_path / "films.jsonl").write_text("".join(json.dumps(film) + "\n" for film in films))
    exported = tmp_path / "out" / "events.jsonl"
    run("events", "export", tmp_path / "out", "--state-dir", tmp_path / "state")
    run(
        "data", "import", tmp_path / "shop", "--entities", tmp_path / "films.jsonl", "--events", exported, "--no-derive"
    )
    run(
        "events",
        "export",
        tmp_path / "ready",
        "--state-dir",
        tmp_path / "state",
        "--entities",
        tmp_path / "films.jsonl",
    )
    for folder in ("shop", "ready"):
        rankings = labelled_rankings(observed(Dataset.load(tmp_path / folder).events))
        found = {ranking.context.row_title: sorted(ranking.labels) for ranking in rankings}
        expected = {title: sorted([0.0, 1.0] * titles.count(title)) for title in titles}
        assert (len(rankings), found) == (len(expected), expected)


@pytest.mark.parametrize("title_first", [True, False])
def test_a_title_is_a_column_of_its_ranking_alone(title_first: bool) -> None:
    entries = [titled("r", "Toys"), impression("r", "a", "b")]
    join, rows = joined(*(entries if title_first else entries[::-1]), impression("s", "a"))
    assert [(row["ranking_id"], row.get(ROW_TITLE)) for row in rows] == [("r", "Toys"), ("r", "Toys"), ("s", None)]
    assert (join.events, join.unusable) == (2, 0)


def test_a_title_of_a_ranking_that_nobody_was_shown_gives_no_row() -> None:
    assert joined(titled("r", "Toys"))[1] == []
