"""A user's own tables are imported with formats, mapping and conversions; bad rows are set aside with the reason."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from model.datasets.dataset import Dataset
from model.datasets.errors import DatasetError, FileFormatError, MissingFileError, TooManyRejectedError
from model.datasets.importers.cells import attribute
from model.datasets.importers.tables import import_tables, renamed
from model.datasets.importers.times import time_scale, to_milliseconds

ITEMS = "item,title,tags,price,code\n1,Lamp,red|big,9.5,007\n2,Chair,blue|small,20,x1\n3,Rug,,,x2\n"
CLICKS = "item,who,when,place,ignored\n1,ann,1700000000,1,z\n2,bob,1700000100,,z\n"
MAPPING = {
    "entity_id": "item",
    "display_name": "title",
    "user_id": "who",
    "timestamp": "when",
    "position": "place",
}


def files(tmp_path: Path, items: str = ITEMS, clicks: str = CLICKS) -> tuple[Path, Path]:
    (tmp_path / "items.csv").write_text(items, encoding="utf-8")
    (tmp_path / "clicks.csv").write_text(clicks, encoding="utf-8")
    return tmp_path / "items.csv", tmp_path / "clicks.csv"


def rejected_rows(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "rejected.jsonl").read_text().splitlines()]


def test_csv_columns_are_renamed_by_a_mapping(tmp_path: Path) -> None:
    out = tmp_path / "shop"
    assert import_tables(out, *files(tmp_path), MAPPING) == {"entities": 3, "events": 2, "rejected": 0}
    dataset = Dataset.load(out, max_rejected=0)
    assert dataset.name == "shop"
    assert dataset.columns == {"tags": "categories", "price": "number", "code": "text"}
    assert dataset.entities[0] == {
        "entity_id": "1", "display_name": "Lamp", "tags": ["red", "big"], "price": 9.5, "code": "007"
    }  # fmt: skip
    assert dataset.entities[2] == {"entity_id": "3", "display_name": "Rug", "code": "x2"}
    first = dataset.events.row(0, named=True)
    assert (first["task"], first["label"], first["ranking_id"], first["part"]) == (
        "homepage",
        1.0,
        "row-2",
        "train",
    )
    assert (first["timestamp"], first["position"], first["user_id"]) == (1_700_000_000_000, 1, "ann")
    assert dataset.events["position"].to_list() == [1, None]


def test_json_lines_and_parquet_keep_their_types(tmp_path: Path) -> None:
    items = tmp_path / "items.jsonl"
    items.write_text('{"entity_id": 5, "display_name": "Five", "kinds": ["a"], "new": true}\n')
    when = datetime(2024, 1, 1, tzinfo=UTC)
    table = {"entity_id": [5], "timestamp": [when], "label": [2], "task": ["search"], "query": ["five"]}
    pl.DataFrame({**table, "context.age": [31], "context.device": ["tv"]}).write_parquet(tmp_path / "e.parquet")
    import_tables(tmp_path / "out", items, tmp_path / "e.parquet", {})
    dataset = Dataset.load(tmp_path / "out", max_rejected=0)
    assert dataset.entities == [{"entity_id": "5", "display_name": "Five", "kinds": ["a"], "new": 1}]
    row = dataset.events.row(0, named=True)
    assert (row["timestamp"], row["label"], row["query"]) == (1_704_067_200_000, 2.0, "five")
    assert (row["context.age"], row["context.device"]) == (31.0, "tv")


def test_bad_cells_are_set_aside_with_file_line_column_and_reason(tmp_path: Path) -> None:
    clicks = (
        "item,who,when,place,label\n"
        "1,ann,1700000000,1,1\n"
        "2,bob,soon,1,1\n"
        "2,bob,1700000000,first,1\n"
        "2,bob,1700000000,1,nan\n"
        "9,bob,1700000000,1,1\n"
        "2,bob\n"
    )
    out = tmp_path / "out"
    counts = import_tables(out, *files(tmp_path, clicks=clicks), MAPPING, max_rejected=0.9)
    assert counts == {"entities": 3, "events": 1, "rejected": 5}
    assert [(row["line"], row["column"], row["reason"]) for row in rejected_rows(out)] == [
        (3, "timestamp", 'expected a time (ISO 8601, s or ms), got "soon"'),
        (4, "position", 'expected a whole number, got "first"'),
        (5, "label", 'expected a number, got "nan"'),
        (6, "entity_id", 'expected the id of a known entity, got "9"'),
        (7, None, "expected 5 fields, got 2"),
    ]


def test_over_the_limit_the_rejected_rows_are_still_written(tmp_path: Path) -> None:
    clicks = "item,who,when,place\n1,ann,x,1\n2,bob,1700000000,1\n"
    with pytest.raises(TooManyRejectedError, match=r"clicks\.csv line 2, column timestamp: expected a time"):
        import_tables(tmp_path / "out", *files(tmp_path, clicks=clicks), MAPPING)
    assert [row["line"] for row in rejected_rows(tmp_path / "out")] == [2]
    assert not (tmp_path / "out" / "events.jsonl").exists()


def test_bad_entities_are_set_aside_too(tmp_path: Path) -> None:
    items = "item,title\n1,Lamp\n1,Lamp again\n2,\n3,Rug\n"
    out = tmp_path / "out"
    import_tables(out, *files(tmp_path, items, "item,who,when,place\n3,a,1,1\n"), MAPPING, max_rejected=0.5)
    assert [(row["file"], row["line"], row["column"]) for row in rejected_rows(out)] == [
        ("items.csv", 3, "entity_id"),
        ("items.csv", 4, "display_name"),
    ]


def test_a_prefix_says_which_table_and_a_mapped_column_wins() -> None:
    columns: dict[str, list[object]] = {"id": [1], "item": [2], "entity_id": [3]}
    assert renamed(columns, "events", {"events.entity_id": "item", "entities.entity_id": "id"}) == {
        "entity_id": [2],
        "id": [1],
    }
    assert renamed(columns, "entities", {"events.entity_id": "item", "entity_id": "id"}) == {
        "entity_id": [1],
        "item": [2],
    }
    assert renamed(columns, "events", {"entity_id": "id", "events.entity_id": "item"})["entity_id"] == [2]


def test_bad_use_is_one_clear_line(tmp_path: Path) -> None:
    items, clicks = files(tmp_path)
    with pytest.raises(DatasetError, match="map user_id=nobody: expected a column of"):
        import_tables(tmp_path / "out", items, clicks, {**MAPPING, "user_id": "nobody"})
    with pytest.raises(FileFormatError, match=r"items\.csv, column display_name: expected it or a map"):
        import_tables(tmp_path / "out", items, clicks, {"entity_id": "item"})
    with pytest.raises(MissingFileError, match=r"absent\.csv"):
        import_tables(tmp_path / "out", tmp_path / "absent.csv", clicks, MAPPING)
    (tmp_path / "items.xlsx").write_text("x")
    with pytest.raises(FileFormatError, match=r"expected one of \.csv"):
        import_tables(tmp_path / "out", tmp_path / "items.xlsx", clicks, MAPPING)
    (tmp_path / "latin.csv").write_bytes(b"item\n\xff\xfe\n")
    with pytest.raises(FileFormatError, match="UTF-8"):
        import_tables(tmp_path / "out", tmp_path / "latin.csv", clicks, {"entity_id": "item"})


def test_given_parts_stay_and_others_are_assigned(tmp_path: Path) -> None:
    rows = [f"{1 + index % 3},u,{1_700_000_000 + index},1" for index in range(20)]
    import_tables(tmp_path / "a", *files(tmp_path, clicks="item,who,when,place\n" + "\n".join(rows)), MAPPING)
    parts = Dataset.load(tmp_path / "a").events["part"].to_list()
    assert parts == ["train"] * 16 + ["validation"] * 2 + ["test"] * 2
    given = "item,who,when,place,part\n1,u,1,1,test\n"
    import_tables(tmp_path / "b", *files(tmp_path, clicks=given), MAPPING)
    assert Dataset.load(tmp_path / "b").events["part"].to_list() == ["test"]


def test_broken_json_lines_are_set_aside(tmp_path: Path) -> None:
    items, _ = files(tmp_path)
    clicks = tmp_path / "clicks.jsonl"
    clicks.write_text('{"item": "1", "who": "a", "when": 1, "place": 1}\n\n{nope\n[1]\n')
    import_tables(tmp_path / "out", items, clicks, MAPPING, max_rejected=0.9)
    assert [row["line"] for row in rejected_rows(tmp_path / "out")] == [3, 4]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1", "2.5", None], [1, 2.5, None]),
        (["1", "two"], ["1", "two"]),
        (["1", "nan"], ["1", "nan"]),
        (["a|b", "c", "d|e"], [["a", "b"], ["c"], ["d", "e"]]),
        (["a|b", "c"], ["a|b", "c"]),
        ([None, None], [None, None]),
        ([True, 2], [1, 2]),
        ([["a", None], None], [["a"], None]),
    ],
)
def test_attribute_columns_are_typed_as_a_whole(cells: list[object], expected: list[object]) -> None:
    assert attribute(cells) == expected


def test_times_are_scaled_by_the_size_of_the_column() -> None:
    second = 1_700_000_000
    assert [time_scale([second * factor]) for factor in (1, 10**3, 10**6, 10**9)] == [1e3, 1.0, 1e-3, 1e-6]
    assert to_milliseconds(second, 1e3) == second * 1000
    assert to_milliseconds("2024-01-01T00:00:00+01:00", 1.0) == 1_704_063_600_000
    assert to_milliseconds("2024-01-01", 1.0) == 1_704_067_200_000
    assert to_milliseconds("later", 1.0) is None
