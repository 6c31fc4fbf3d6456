"""`unirank events export` writes the log as rows of a dataset with labels joined, and the result can be imported as it
is.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from app.cli import app
from app.events.label_join import LabelJoin
from app.events.log import EventLog
from model.datasets.dataset import Dataset
from model.datasets.quality import validate
from model.events.derived import derived_counts, observed
from model.events.table import EVENT_SCHEMA

AT = 1_700_000_000_000
ODD = ["e[bold]1", 'quo"te', "a,b;c\tt", "🎬 film", "شريط", "line\nbreak", "back\\slash", " e ", "NULL", "007"]


def shown(*ids: str, **more: Any) -> dict[str, Any]:
    return {"type": "impression", "timestamp": AT, "task": "homepage", "user_id": "u", "shown": list(ids)} | more


def engaged(entity_id: str, label: float = 1.0, **more: Any) -> dict[str, Any]:
    return {"type": "engagement", "timestamp": AT + 9, "task": "homepage", "user_id": "u", "entity_id": entity_id,
            "label": label} | more  # fmt: skip


def rows(*events: dict[str, Any]) -> list[dict[str, Any]]:
    join = LabelJoin()
    for event in events:
        join.add(json.dumps(event).encode())
    assert join.unusable == 0
    return list(join.rows())


def short(*events: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(row["ranking_id"], row["entity_id"], row["position"], row["label"]) for row in rows(*events)]


SLATE, SOLO = shown("a", "b", "c", ranking_id="r"), shown("a", ranking_id="r")
LABELS = st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from("abc"), st.integers(0, 3)), max_size=12)
JOINS: dict[str, tuple[list[dict[str, Any]], list[tuple[Any, ...]]]] = {
    "an engagement labels its row": (
        [SLATE, engaged("b", 2.0, ranking_id="r")],
        [("r", "a", 1, 0.0), ("r", "b", 2, 2.0), ("r", "c", 3, 0.0)],
    ),
    "stored before its impression": (
        [engaged("b", ranking_id="r"), SLATE],
        [("r", "a", 1, 0.0), ("r", "b", 2, 1.0), ("r", "c", 3, 0.0)],
    ),
    "engaged twice: the higher label": (
        [SLATE, engaged("a", 3, ranking_id="r"), engaged("a", 1, ranking_id="r")],
        [("r", "a", 1, 3.0), ("r", "b", 2, 0.0), ("r", "c", 3, 0.0)],
    ),
    "the same impression sent twice": ([SLATE, SLATE], [("r", "a", 1, 0.0), ("r", "b", 2, 0.0), ("r", "c", 3, 0.0)]),
    "a second page goes on": (
        [SLATE, shown("d", "a", "e", ranking_id="r")],
        [("r", "a", 1, 0.0), ("r", "b", 2, 0.0), ("r", "c", 3, 0.0), ("r", "d", 4, 0.0), ("r", "e", 5, 0.0)],
    ),
    "an entity shown twice": ([shown("a", "a", ranking_id="r")], [("r", "a", 1, 0.0)]),
    "not among those shown": (
        [shown("a", ranking_id="r"), engaged("z", ranking_id="r")],
        [("r", "a", 1, 0.0), ("r", "z", None, 1.0)],
    ),
    "of a ranking that nobody logged": ([engaged("a", ranking_id="q")], [("q", "a", None, 1.0)]),
    "a label of 0": ([shown("a", ranking_id="r"), engaged("a", 0, ranking_id="r")], [("r", "a", 1, 0.0)]),
    "a label below 0 of an earlier version": ([engaged("a", -1, ranking_id="q")], [("q", "a", None, 0.0)]),
    "two users under one ranking_id": (
        [
            shown("a", ranking_id="r"),
            shown("a", ranking_id="r", user_id="v"),
            engaged("a", user_id="v", ranking_id="r"),
        ],
        [("r", "a", 1, 0.0), ("r#2", "a", 1, 1.0)],
    ),
    "a made name that is taken": (
        [shown("a", ranking_id="r"), shown("a", ranking_id="r", user_id="v"), shown("a", ranking_id="r#2")],
        [("r", "a", 1, 0.0), ("r#2#", "a", 1, 0.0), ("r#2", "a", 1, 0.0)],
    ),
}


@pytest.mark.parametrize("name", JOINS)
def test_labels_are_joined(name: str) -> None:
    events, expected = JOINS[name]
    assert short(*events) == expected


def test_events_without_a_ranking_get_one_each_and_keep_their_context() -> None:
    first, again, other = engaged("a", query="q"), engaged("a", query="q"), engaged("a", timestamp=AT + 10)
    made = rows(first, again, other, shown("a", "b", country="DE", source_entity_id="s"))
    assert [(row["entity_id"], row["query"], row["country"], row["source_entity_id"]) for row in made] == [
        ("a", None, "DE", "s"), ("b", None, "DE", "s"), ("a", "q", None, None), ("a", None, None, None),
    ]  # fmt: skip
    assert len({row["ranking_id"] for row in made}) == 3
    assert [row["timestamp"] for row in made] == [AT, AT, AT + 9, AT + 10]


def test_the_ranking_says_the_context_and_extra_columns_stay() -> None:
    (row,) = rows(
        shown("a", ranking_id="r", query="toy", **{"context.device": "tv"}), engaged("a", ranking_id="r", user_id=None)
    )
    assert (row["query"], row["user_id"], row["context.device"], row["label"]) == ("toy", "u", "tv", 1.0)


@given(
    st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from("abc"), st.integers(0, 3)), max_size=12), st.randoms()
)
@settings(deadline=None, max_examples=60)
def test_the_order_of_storing_does_not_matter(found: list[tuple[str, str, int]], dice: Any) -> None:
    events = [SLATE | {"ranking_id": name} for name in "xy"]
    events += [engaged(entity, label, ranking_id=name) for name, entity, label in found]
    shuffled = dice.sample(events, len(events))
    assert sorted(map(str, rows(*events))) == sorted(map(str, rows(*shuffled)))


@pytest.mark.parametrize("stored", [b"nonsense", b"{}", b'{"type": "engagement"}', b'"\xff"', b"[1]"])
def test_lines_that_are_not_events_are_counted(stored: bytes) -> None:
    join = LabelJoin()
    join.add(stored)
    assert (join.unusable, list(join.rows())) == (1, [])


# ── the command ─────────────────────────────────────────────────────────────────────────────────────────────


def state(folder: Path, *events: dict[str, Any]) -> Path:
    log = EventLog(folder / "state" / "events")
    asyncio.run(log.append([json.dumps(event).encode() for event in events]))
    log.close()
    return folder / "state"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def catalogue(folder: Path) -> Path:
    file = folder / "entities.jsonl"
    ids = ["a", "b", "c", *ODD]
    file.write_text("".join(json.dumps({"entity_id": one, "display_name": f"The {one}"}) + "\n" for one in ids))
    return file


EVENTS = [
    SLATE, engaged("b", ranking_id="r"), engaged("c"), *(engaged(one, user_id=f"of {one}") for one in ODD),
    shown(*ODD, query="toy", task="search", ranking_id="s[/bold]"),
]  # fmt: skip


@pytest.mark.parametrize("form", ["folder", "file", "standard output"])
def test_an_export_imports_as_it_is(tmp_path: Path, form: str) -> None:
    """The loop that was open: export, import, validate; nothing is set aside."""
    at, folder = state(tmp_path, *EVENTS), tmp_path / "exported"
    out = {"folder": folder, "file": tmp_path / "events.jsonl", "standard output": Path("-")}[form]
    ended = run("events", "export", out, "--state-dir", at)
    assert ended.exit_code == 0, ended.output
    events = folder / "events.jsonl" if form == "folder" else out
    if form == "standard output":
        events = tmp_path / "printed.jsonl"
        events.write_text(ended.stdout)
    tables = ["--entities", catalogue(tmp_path), "--events", events]
    ended = run("data", "import", tmp_path / "shop", *tables, "--no-derive")
    assert ended.exit_code == 0, ended.output
    report = validate(tmp_path / "shop")
    assert report.usable
    assert (report.events, report.rejected) == (3 + 1 + 2 * len(ODD), [])
    made = Dataset.load(tmp_path / "shop").events
    assert set(made["entity_id"]) == {"a", "b", "c", *ODD}
    assert made.filter(made["ranking_id"] == "r")["label"].to_list() == [0.0, 1.0, 0.0]


def test_with_entities_it_is_a_dataset_with_parts(tmp_path: Path) -> None:
    at, out = state(tmp_path, *EVENTS, engaged("gone from the catalogue")), tmp_path / "shop"
    for _ in range(2):  # again: made anew, not twice as long
        ended = run("events", "export", out, "--entities", catalogue(tmp_path), "--state-dir", at)
        assert ended.exit_code == 0, ended.output
    assert "1 rows name entities that are not in" in ended.output
    made = Dataset.load(out)
    assert observed(made.events).height == 3 + 1 + 2 * len(ODD)
    assert made.about["derived"] == derived_counts(made.events) != {}
    assert made.events["part"].null_count() == 0
    assert len(made.entities) == 3 + len(ODD)


def test_rows_have_the_columns_of_a_dataset(tmp_path: Path) -> None:
    at = state(tmp_path, *EVENTS)
    run("events", "export", tmp_path / "out", "--state-dir", at)
    for line in (tmp_path / "out" / "events.jsonl").read_text().splitlines():
        assert set(json.loads(line)) == set(EVENT_SCHEMA) - {"part", "slice"}


def test_raw_lines_are_printed_as_they_were_sent(tmp_path: Path) -> None:
    ended = run("events", "export", "-", "--raw", "--state-dir", state(tmp_path, *EVENTS))
    assert [json.loads(line) for line in ended.stdout.splitlines()] == EVENTS


def test_nothing_else_is_overwritten(tmp_path: Path) -> None:
    at, raw, shop = state(tmp_path, *EVENTS), tmp_path / "raw.jsonl", tmp_path / "shop"
    run("events", "export", raw, "--raw", "--state-dir", at)
    shop.mkdir()
    (shop / "entities.jsonl").write_text("mine\n")
    (tmp_path / "mine.jsonl").write_text("mine\n")
    for out, why in ((raw, "add --raw"), (shop, "name another folder"), (tmp_path / "mine.jsonl", "name another one")):
        ended = run("events", "export", out, "--state-dir", at)
        assert why in str(ended.exception)
    assert (tmp_path / "mine.jsonl").read_text() == (shop / "entities.jsonl").read_text() == "mine\n"
    assert len(raw.read_text().splitlines()) == len(EVENTS)


def test_the_command_reports_lines_that_are_not_events(tmp_path: Path) -> None:
    ended = run("events", "export", tmp_path / "out", "--state-dir", state(tmp_path, {"type": "old"}, *EVENTS))
    assert ended.exit_code == 1
    assert "1 stored lines are no events" in ended.stderr
