"""JSON and Parquet keep their types; arrays and nested objects are imported, or refused where a dataset has no column
for them.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from model.datasets.dataset import Dataset
from model.datasets.errors import DatasetError
from model.datasets.importers.table_batches import ReadOptions
from model.datasets.importers.tables import import_tables

ENTITY = {"entity_id": "1", "display_name": "Lamp"}


def imported(tmp_path: Path, items: Path, clicks: Path | None = None, drop: tuple[str, ...] = ()) -> Dataset:
    if clicks is None:
        clicks = tmp_path / "clicks.csv"
        clicks.write_text("entity_id\n1\n")
    import_tables(tmp_path / "out", items, clicks, {}, options=ReadOptions(drop=drop))
    return Dataset.load(tmp_path / "out", max_rejected=0)


def text_file(tmp_path: Path, name: str, text: str | bytes) -> Path:
    file = tmp_path / name
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


def parquet(tmp_path: Path, columns: dict[str, Any], name: str = "items.parquet") -> Path:
    pl.DataFrame(columns).write_parquet(tmp_path / name)
    return tmp_path / name


LINE = json.dumps(ENTITY)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jsonl", LINE + "\n"),
        ("a.jsonl", "\ufeff" + LINE),
        ("a.ndjson", "\n\n" + LINE + "\r\n"),
        ("a.json", f"[{LINE}]"),
        ("a.json", json.dumps([ENTITY], indent=2)),
        ("a.json", "\ufeff" + json.dumps([ENTITY], indent=2)),
        ("a.json", LINE),
        ("a.JSONL", f"[{LINE}]"),
        ("a.json", LINE.encode("utf-16")),
    ],
)
def test_json_lines_and_json_arrays_are_imported_alike(tmp_path: Path, name: str, text: str | bytes) -> None:
    assert imported(tmp_path, text_file(tmp_path, name, text)).entities == [ENTITY]


def test_an_element_of_an_array_is_named_by_its_line(tmp_path: Path) -> None:
    text = '[\n  {"entity_id": "1",\n   "display_name": "Lamp"},\n  17,\n  {"entity_id": "2"}\n]'
    with pytest.raises(DatasetError, match=r"a\.json line 4: expected one JSON object, got \"17\""):
        imported(tmp_path, text_file(tmp_path, "a.json", text))
    with pytest.raises(DatasetError, match=r"a\.json: expected a JSON array or one object a line: "):
        imported(tmp_path, text_file(tmp_path, "a.json", text[:-1]))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": 1, "b": {"c": "x"}}, {"x.a": 1, "x.b.c": "x"}),
        ([28, 12], {"x": ["28", "12"]}),
        ([1.0, "a", None], {"x": ["1", "a"]}),
        (True, {"x": 1}),
        (None, {}),
        ("NULL", {}),
        ([], {"x": []}),
        (1e300, {"x": 1e300}),
    ],
)
def test_json_attributes_become_numbers_texts_or_categories(
    tmp_path: Path, value: object, expected: dict[str, object]
) -> None:
    items = text_file(tmp_path, "a.jsonl", json.dumps({**ENTITY, "x": value}))
    assert imported(tmp_path, items).entities == [{**ENTITY, **expected}]


@pytest.mark.parametrize("value", [[0.5, 0.25], [[1]], [{"a": 1}]])
def test_lists_that_are_no_categories_are_refused_and_can_be_dropped(tmp_path: Path, value: object) -> None:
    items = text_file(tmp_path, "a.jsonl", json.dumps({**ENTITY, "x": value}))
    with pytest.raises(DatasetError, match=r"a\.jsonl, column x: expected text, .* got \[.*; --drop x leaves"):
        imported(tmp_path, items)
    assert imported(tmp_path, items, drop=("x",)).entities == [ENTITY]


def test_an_object_can_be_dropped_whole_or_in_part(tmp_path: Path) -> None:
    items = text_file(tmp_path, "a.jsonl", json.dumps({**ENTITY, "x": {"a": 1, "b": [0.5]}}))
    assert imported(tmp_path, items, drop=("x.b",)).entities == [{**ENTITY, "x.a": 1}]
    assert imported(tmp_path, items, drop=("x",)).entities == [ENTITY]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ([Decimal("9.50")], {"x": 9.5}),
        ([b"text"], {"x": "text"}),
        ([date(2020, 1, 2)], {"x": "2020-01-02"}),
        ([datetime(2020, 1, 2, tzinfo=UTC)], {"x": "2020-01-02T00:00:00+00:00"}),
        ([[1, 2]], {"x": ["1", "2"]}),
        ([["a", None]], {"x": ["a"]}),
        ([{"a": 1, "b": {"c": "z"}}], {"x.a": 1, "x.b.c": "z"}),
        (pl.Series(["a"], dtype=pl.Categorical), {"x": "a"}),
        (pl.Series([3], dtype=pl.UInt64), {"x": 3}),
        ([None], {}),
        ([float("nan")], {}),
        ([True], {"x": 1}),
    ],
)
def test_parquet_attributes_become_numbers_texts_or_categories(
    tmp_path: Path, column: Any, expected: dict[str, object]
) -> None:
    items = parquet(tmp_path, {"entity_id": [1], "display_name": ["Lamp"], "x": column})
    assert imported(tmp_path, items).entities == [{**ENTITY, **expected}]


@pytest.mark.parametrize("column", [[[0.5]], [b"\xff\xfe"], [[{"a": 1}]]])
def test_parquet_columns_of_unsupported_types_are_refused(tmp_path: Path, column: list[object]) -> None:
    items = parquet(tmp_path, {"entity_id": [1], "display_name": ["Lamp"], "x": column})
    with pytest.raises(DatasetError, match=r"items\.parquet, column x: expected text, .*; --drop x leaves"):
        imported(tmp_path, items)
    assert imported(tmp_path, items, drop=("x",)).entities == [ENTITY]


def test_parquet_events_keep_their_types(tmp_path: Path) -> None:
    items = text_file(tmp_path, "items.csv", "entity_id,display_name\n1,Lamp\n2,Chair\n")
    clicks = parquet(
        tmp_path,
        {
            "entity_id": [1.0, 2.0],
            "user_id": [b"ann", None],
            "timestamp": [date(2019, 10, 1), None],
            "label": [Decimal("2.5"), None],
            "embedding": [[0.5], [0.25]],
            "context.age": [31, None],
        },
        "clicks.parquet",
    )
    events = imported(tmp_path, items, clicks).events
    assert events.select("entity_id", "user_id", "timestamp", "label", "context.age").rows() == [
        ("1", "ann", 1_569_888_000_000, 2.5, 31.0),
        ("2", None, None, 1.0, None),
    ]


def test_a_list_where_an_id_belongs_is_refused_by_its_value(tmp_path: Path) -> None:
    items = text_file(tmp_path, "items.jsonl", LINE)
    clicks = text_file(tmp_path, "clicks.jsonl", '{"entity_id": "1"}\n{"entity_id": "1", "user_id": ["ann"]}\n')
    with pytest.raises(DatasetError, match=r'clicks\.jsonl line 2, column user_id: expected a string, got \["ann"\]'):
        imported(tmp_path, items, clicks)


def test_an_extra_column_has_one_type_in_all_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One text among numbers makes the column text, however late it comes."""
    monkeypatch.setattr("model.datasets.importers.text_files.BLOCK", 64)
    items = text_file(tmp_path, "items.csv", "entity_id,display_name\n1,Lamp\n")
    rows = [f"1,{n},{n}" for n in range(50)] + ["1,old,51"]
    clicks = text_file(tmp_path, "clicks.csv", "\n".join(["entity_id,context.age,candidate.price", *rows]))
    events = imported(tmp_path, items, clicks).events
    assert events["context.age"].to_list() == [*map(str, range(50)), "old"]
    assert events["candidate.price"].to_list() == [*map(float, range(50)), 51.0]
    late = [{"entity_id": "1"}] * 9 + [{"entity_id": "1", "context.x": "late", "ranking_id": "r"}]
    clicks = text_file(tmp_path, "clicks.jsonl", "\n".join(map(json.dumps, late)))
    events = imported(tmp_path, items, clicks).events
    assert events["context.x"].to_list() == [None] * 9 + ["late"]
    assert events["ranking_id"].to_list() == [f"row-{n}" for n in range(1, 10)] + ["r"]


@pytest.mark.parametrize(
    ("items", "mapping", "says"),
    [
        ("entity_id,user_id,timestamp\n1,a,1\n", {}, "it looks like a file of events"),
        ("item,user_id\n" + "1,a\n" * 9, {"entity_id": "item", "display_name": "item"}, "8 of 9 rows are repeated"),
        (
            "entity_id,display_name,user_id\n" + "1,a,b\n" * 9,
            {},
            "columns user_id: it looks like a file of events",
        ),
        ("entity_id,display_name\n1,a\n1,b\n", {}, r'items\.csv line 3, column entity_id: expected each .*"1" again'),
    ],
)
def test_files_that_are_not_entities_are_refused(
    tmp_path: Path, items: str, mapping: dict[str, str], says: str
) -> None:
    clicks = text_file(tmp_path, "clicks.csv", "entity_id\n1\n")
    with pytest.raises(DatasetError, match=says):
        import_tables(tmp_path / "out", text_file(tmp_path, "items.csv", items), clicks, mapping)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_mapping_of_a_missing_column_is_refused(tmp_path: Path, suffix: str) -> None:
    rows = {".csv": "entity_id\n1\n", ".jsonl": '{"entity_id": 1}\n'}[suffix]
    clicks = text_file(tmp_path, f"clicks{suffix}", rows)
    items = text_file(tmp_path, "items.csv", "entity_id,display_name\n1,Lamp\n")
    with pytest.raises(DatasetError, match="map user_id=nobody: expected a column of"):
        import_tables(tmp_path / "out", items, clicks, {"user_id": "nobody"})
