"""Loading a dataset folder reads valid rows, sets others aside with the reason, and stops where too many are bad."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from model.datasets.dataset import Dataset, infer_columns, write_dataset
from model.datasets.errors import DatasetError, FileFormatError, MissingFileError, Rejected, TooManyRejectedError
from model.events.table import EVENT_SCHEMA, conform

ENTITIES: list[dict[str, object]] = [
    {"entity_id": "a", "display_name": "Alpha", "about": "first", "kinds": ["x", "y"], "price": 3},
    {"entity_id": "b", "display_name": "Beta", "price": 2.5},
]


def event(**changes: object) -> dict[str, object]:
    row: dict[str, object] = {
        "ranking_id": "r1",
        "timestamp": 1000,
        "task": "search",
        "user_id": "u1",
        "query": "alpha",
        "country": None,
        "source_entity_id": None,
        "entity_id": "a",
        "position": 1,
        "label": 1.0,
    }
    return {**row, **changes}


def folder(tmp_path: Path, events: list[object], entities: list[dict[str, object]] | None = None) -> Path:
    """A dataset folder; an event that is a str is written as it is."""
    (tmp_path / "dataset.json").write_text("{}")
    lines = [row if isinstance(row, str) else json.dumps(row) for row in events]
    (tmp_path / "events.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows = [json.dumps(row) for row in (ENTITIES if entities is None else entities)]
    (tmp_path / "entities.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return tmp_path


def only_rejected(tmp_path: Path, bad: object) -> Rejected:
    dataset = Dataset.load(folder(tmp_path, [event(), bad, event(ranking_id="r2")]), max_rejected=0.5)
    assert dataset.events.height == 2
    (rejected,) = dataset.rejected
    return rejected


def test_load_gives_types_entities_and_exactly_the_contract_columns(tmp_path: Path) -> None:
    dataset = Dataset.load(folder(tmp_path, [event(), event(label=0, entity_id="b", timestamp=None)]))
    assert dataset.columns == {"about": "text", "kinds": "categories", "price": "number"}
    assert dataset.entities == ENTITIES
    assert dict(dataset.events.schema) == EVENT_SCHEMA
    assert dataset.events["label"].to_list() == [1.0, 0.0]
    assert dataset.events["timestamp"].to_list() == [1000, None]
    assert dataset.rejected == []


@pytest.mark.parametrize(
    ("changes", "column", "reason"),
    [
        ({"label": "x"}, "label", 'expected a number, got "x"'),
        ({"label": None}, "label", "expected a number, got null"),
        ({"label": float("nan")}, "label", "expected a finite number, got NaN"),
        ({"label": float("inf")}, "label", "expected a finite number, got Infinity"),
        ({"label": -1.0}, "label", "expected a number that is not negative, got -1.0"),
        ({"timestamp": 1.5}, "timestamp", "expected a whole number or null, got 1.5"),
        ({"timestamp": 2**70}, "timestamp", f"expected a whole number or null, got {2**70}"),
        ({"entity_id": ""}, "entity_id", 'expected a string that is not empty, got ""'),
        ({"user_id": ""}, "user_id", 'expected a string that is not empty, got ""'),
        ({"user_id": 7}, "user_id", "expected a string or null, got 7"),
        ({"entity_id": "zz"}, "entity_id", 'expected the id of a known entity, got "zz"'),
        ({"source_entity_id": "zz"}, "source_entity_id", 'expected the id of a known entity, got "zz"'),
        ({"position": 0}, "position", "expected a place from 1 on, got 0"),
        ({"part": "holdout"}, "part", 'expected train, validation or test, got "holdout"'),
        ({"context.device": True}, "context.device", "expected a string, a number or null, got true"),
        ({"query": "\ud800"}, "query", 'expected a string or null, got "\\ud800"'),
    ],
)
def test_a_bad_value_is_set_aside_with_line_column_and_reason(
    tmp_path: Path, changes: dict[str, object], column: str, reason: str
) -> None:
    assert only_rejected(tmp_path, event(**changes)) == Rejected("events.jsonl", 2, column, reason)


def test_a_missing_required_column_is_set_aside(tmp_path: Path) -> None:
    bad = {name: value for name, value in event().items() if name != "label"}
    assert only_rejected(tmp_path, bad) == Rejected("events.jsonl", 2, "label", "expected a number, got nothing")


@pytest.mark.parametrize("line", ["{", "[1]", "null", "not json", '{"label": 1e999}', '{"a":' * 100_000])
def test_a_line_that_is_no_event_is_set_aside(tmp_path: Path, line: str) -> None:
    rejected = only_rejected(tmp_path, line)
    assert (rejected.file, rejected.line) == ("events.jsonl", 2)
    assert rejected.reason.startswith("expected")


def test_over_the_limit_the_message_is_one_line_with_file_line_and_column(tmp_path: Path) -> None:
    path = folder(tmp_path, [*(event(ranking_id=f"r{i}") for i in range(16)), event(label="x")])
    with pytest.raises(TooManyRejectedError) as caught:
        Dataset.load(path)
    message = str(caught.value)
    assert message.startswith('events.jsonl line 17, column label: expected a number, got "x"')
    assert "1 of 17 rows" in message
    assert "\n" not in message


def test_exactly_at_the_limit_loads(tmp_path: Path) -> None:
    rows: list[object] = [event(ranking_id=f"r{i}") for i in range(99)]
    dataset = Dataset.load(folder(tmp_path, [*rows, "broken"]), max_rejected=0.01)
    assert (dataset.events.height, len(dataset.rejected)) == (99, 1)


def test_blank_lines_and_a_byte_order_mark_are_no_rows(tmp_path: Path) -> None:
    path = folder(tmp_path, [event(), "", event(ranking_id="r2")])
    text = (path / "events.jsonl").read_text(encoding="utf-8")
    (path / "events.jsonl").write_text("\ufeff" + text, encoding="utf-8")
    dataset = Dataset.load(path, max_rejected=0)
    assert dataset.events.height == 2


def test_extra_columns_are_kept_by_type_and_an_unknown_one_stops_the_file(tmp_path: Path) -> None:
    rows = [
        event(),
        event(**{"context.device": "tv"}),
        event(**{"candidate.price": 3, "context.device": "web"}),
    ]
    events = Dataset.load(folder(tmp_path, list(rows))).events
    assert events.columns == [*EVENT_SCHEMA, "candidate.price", "context.device"]
    assert events["context.device"].to_list() == [None, "tv", "web"]
    assert events["candidate.price"].to_list() == [None, None, 3.0]
    with pytest.raises(FileFormatError, match=r"events\.jsonl, column device"):
        Dataset.load(folder(tmp_path, [event(), event(device="tv")]))


def test_rows_read_in_parts_are_those_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [event(ranking_id=f"r{i}", **({"context.age": i} if i > 4 else {})) for i in range(9)]
    path = folder(tmp_path, [*rows, event(**{"context.age": "old"}), event(**{"candidate.x": "y"})])
    whole = Dataset.load(path, max_rejected=0.5)
    monkeypatch.setattr("model.events.table._ROWS_AT_ONCE", 2)
    parts = Dataset.load(path, max_rejected=0.5)
    assert parts.events.equals(whole.events)
    assert [bad.line for bad in parts.rejected] == [bad.line for bad in whole.rejected] == [10]


def test_a_mixed_extra_column_keeps_the_more_frequent_type(tmp_path: Path) -> None:
    rows = [event(ranking_id=f"r{i}", **{"context.age": age}) for i, age in enumerate((1, 2, "old", 4.5))]
    dataset = Dataset.load(folder(tmp_path, list(rows)), max_rejected=0.25)
    assert dataset.events["context.age"].to_list() == [1.0, 2.0, 4.5]
    assert dataset.rejected == [Rejected("events.jsonl", 3, "context.age", 'expected a number, got "old"')]


def test_bad_entities_are_set_aside_and_their_events_too(tmp_path: Path) -> None:
    entities = [
        *ENTITIES,
        {"entity_id": "a", "display_name": "Again"},
        {"entity_id": "c"},
        {"entity_id": "d", "display_name": "Delta", "price": "cheap"},
    ]
    dataset = Dataset.load(folder(tmp_path, [event(), event(entity_id="d")], entities), max_rejected=0.6)
    assert [str(bad) for bad in dataset.rejected] == [
        'entities.jsonl line 3, column entity_id: expected each entity once, got "a" again',
        "entities.jsonl line 4, column display_name: expected a string that is not empty, got null",
        'entities.jsonl line 5, column price: expected a finite number, got "cheap"',
        'events.jsonl line 2, column entity_id: expected the id of a known entity, got "d"',
    ]


def test_the_most_frequent_type_wins_and_dataset_json_fixes_it(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"age": 1}, {"age": 2}, {"age": "x"}, {"note": None}, {"flag": True}]
    assert infer_columns(rows) == {"age": "number", "note": "text", "flag": "text"}
    path = folder(tmp_path, [event()])
    (path / "dataset.json").write_text('{"name": "n", "licence": "L", "columns": {"price": "ignore"}}')
    dataset = Dataset.load(path)
    assert (dataset.name, dataset.columns["price"], dataset.about) == ("n", "ignore", {"licence": "L"})
    (path / "dataset.json").write_text('{"columns": {"price": "money"}}')
    with pytest.raises(FileFormatError, match=r"dataset\.json, columns\.price: expected text"):
        Dataset.load(path)


def test_missing_or_doubled_files_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="expected a dataset folder, found nothing"):
        Dataset.load(tmp_path / "absent")
    with pytest.raises(MissingFileError, match=r"found no dataset\.json"):
        Dataset.load(tmp_path)
    (tmp_path / "dataset.json").write_text("{}")
    with pytest.raises(MissingFileError, match=r"entities\.jsonl or entities\.parquet"):
        Dataset.load(tmp_path)
    path = folder(tmp_path, [event()])
    pl.DataFrame({"entity_id": ["a"]}).write_parquet(path / "entities.parquet")
    with pytest.raises(FileFormatError, match="found both"):
        Dataset.load(path)


@pytest.mark.parametrize("file_format", ["jsonl", "parquet"])
def test_what_is_written_is_read_back(tmp_path: Path, file_format: str) -> None:
    rows = [event(part="train", **{"context.age": 3.0}), event(ranking_id="r2", label=0.0, query=None)]
    events = conform(pl.DataFrame(rows))
    bad = [Rejected("source.csv", 3, "label", "expected a number")]
    write_dataset(tmp_path, "toy", ENTITIES, events, {"licence": "CC0"}, bad, file_format=file_format)
    dataset = Dataset.load(tmp_path)
    assert dataset.events.equals(events)
    assert dataset.name == "toy"
    assert dataset.about["counts"] == {"entities": 2, "events": 2, "rejected": 1}
    assert [entity["display_name"] for entity in dataset.entities] == ["Alpha", "Beta"]
    assert dataset.entities[1].keys() == {"entity_id", "display_name", "price"}
    assert json.loads((tmp_path / "rejected.jsonl").read_text())["line"] == 3


def test_null_context_is_explicit_in_jsonl_and_null_part_is_left_out(tmp_path: Path) -> None:
    write_dataset(tmp_path, "toy", ENTITIES, pl.DataFrame([event()]), {})
    row = json.loads((tmp_path / "events.jsonl").read_text())
    assert row == event()
    assert not (tmp_path / "rejected.jsonl").exists()


def test_writing_again_leaves_nothing_stale(tmp_path: Path) -> None:
    write_dataset(tmp_path, "toy", ENTITIES, pl.DataFrame([event()]), {}, [Rejected("f", 1, None, "r")])
    write_dataset(tmp_path, "toy", ENTITIES, pl.DataFrame([event()]), {}, file_format="parquet")
    names = {file.name for file in tmp_path.iterdir()}
    assert names == {"entities.parquet", "events.parquet", "dataset.json"}


def test_parquet_of_a_wrong_shape_names_the_column(tmp_path: Path) -> None:
    path = folder(tmp_path, [event()])
    (path / "events.jsonl").unlink()
    pl.DataFrame([event()]).with_columns(pl.col("label").cast(pl.String)).write_parquet(path / "events.parquet")
    with pytest.raises(FileFormatError, match=r"events\.parquet, column label: expected Float64, got String"):
        Dataset.load(path)
    pl.DataFrame([event()]).drop("task").write_parquet(path / "events.parquet")
    with pytest.raises(FileFormatError, match="column task: expected this column"):
        Dataset.load(path)
    (path / "events.parquet").write_bytes(b"nothing")
    with pytest.raises(DatasetError, match=r"events\.parquet: expected a Parquet file"):
        Dataset.load(path)


def test_parquet_values_are_checked_by_row(tmp_path: Path) -> None:
    path = folder(tmp_path, [event()])
    (path / "events.jsonl").unlink()
    frame = pl.DataFrame([event(), event(label=float("nan")), event(entity_id=None)])
    frame.write_parquet(path / "events.parquet")
    dataset = Dataset.load(path, max_rejected=0.7)
    assert [(bad.line, bad.column) for bad in dataset.rejected] == [(2, "label"), (3, "entity_id")]


def test_an_empty_events_file_loads_without_rows(tmp_path: Path) -> None:
    path = folder(tmp_path, [])
    assert dict(Dataset.load(path).events.schema) == EVENT_SCHEMA


def test_a_deeply_nested_entity_is_set_aside(tmp_path: Path) -> None:
    path = folder(tmp_path, [event()])
    with (path / "entities.jsonl").open("a") as stream:
        stream.write('{"entity_id":' * 100_000 + "\n")
    (bad,) = Dataset.load(path, max_rejected=0.5).rejected
    assert (bad.file, bad.line) == ("entities.jsonl", 3)
