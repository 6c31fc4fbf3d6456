"""Times, labels, ids and nulls as they occur in real tables are imported as given below, or refused with a sentence.

Text on the left is a file of events or entities beside a plain partner; what it must become is on the right.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from table_imports import DAY, SECOND, Import, rejected

from model.datasets.errors import DatasetError

# ── timestamps ──────────────────────────────────────────────────────────────────────────────────────────────

OCTOBER = 1_569_888_000_000  # 2019-10-01


@pytest.mark.parametrize(
    ("written", "ms"),
    [
        ("2019-10-01 00:00:00 UTC", OCTOBER),
        ("2019-10-01 00:00:00 GMT", OCTOBER),
        ("2019-10-01T00:00:00Z", OCTOBER),
        ("2019-10-01T02:00:00+02:00", OCTOBER),
        ("2019-10-01 02:00:00 +0200", OCTOBER),
        ("2019-10-01 00:00:00.250", OCTOBER + 250),
        ("2019-10-01", OCTOBER),
        (" 2019-10-01 ", OCTOBER),
        ("20191001", OCTOBER),
        ("43739", OCTOBER),  # Excel
        ("43739.5", OCTOBER + DAY // 2),
        ("2019", 1_546_300_800_000),
        (f"{OCTOBER // 1000}", OCTOBER),
        (f"{OCTOBER // 1000}.5", OCTOBER + 500),
        (f"{OCTOBER}", OCTOBER),
        (f"{OCTOBER}000", OCTOBER),
        (f"{OCTOBER}000000", OCTOBER),
        ("1.569888e9", OCTOBER),
        ("", None),
        ("NULL", None),
        ("\\N", None),
        ("NaN", None),
    ],
)
def test_times_are_read_as_milliseconds(imported: Import, written: str, ms: int | None) -> None:
    events = imported(f"entity_id,timestamp\n1,{written}\n2,{written}\n").events
    assert events["timestamp"].to_list() == [ms, ms]


@pytest.mark.parametrize("written", ["01/02/2013", "soon", "20190231x", "1e300", "2019-13-01", "inf", "12:30"])
def test_text_that_is_not_a_time_is_refused_by_its_value(imported: Import, written: str) -> None:
    with pytest.raises(DatasetError, match=rf'clicks\.csv line 3, column timestamp: expected a time .*"{written}"'):
        imported(f"entity_id,timestamp\n1,2019-10-01\n2,{written}\n")


def test_seconds_among_milliseconds_are_refused_by_line(imported: Import, tmp_path: Path) -> None:
    rows = [f"1,{SECOND + n}000" for n in range(6)]
    text = "entity_id,timestamp\n" + "\n".join([*rows, f"2,{SECOND}", f"3,{SECOND}"])
    with pytest.raises(DatasetError, match=rf"line 8, column timestamp: expected a time in ms as most .* got {SECOND}"):
        imported(text)
    dataset = imported(text, limit=0.5)
    assert dataset.events.height == 6
    assert dataset.events["timestamp"].min() == SECOND * 1000
    assert [line for _, line, _ in rejected(dataset)] == [8, 9]


@pytest.mark.parametrize(
    ("column", "says"),
    [
        (["1", "2"], "2 times are outside 1990 to 2100, the first 1970-01-01 on line 2"),
        (["2013", "2014"], "its numbers are read as years"),
        (["20130102", "20140102"], "its numbers are read as dates as YYYYMMDD"),
        (["41276", "41277.5"], "its numbers are read as Excel days"),
        ([f"{SECOND}", "0"], "1 times are outside 1990 to 2100, the first 1970-01-01 on line 3"),
        (["2019-10-01", "1066-10-14"], "1 times are outside 1990 to 2100, the first 1066-10-14 on line 3"),
    ],
)
def test_doubtful_times_are_warned_of(imported: Import, column: list[str], says: str) -> None:
    warned: list[str] = []
    imported("entity_id,timestamp\n" + "".join(f"1,{cell}\n" for cell in column), warned=warned)
    assert [says in line for line in warned] == [True], warned


def test_plausible_times_are_not_warned_of(imported: Import) -> None:
    warned: list[str] = []
    imported(f"entity_id,timestamp\n1,{SECOND}\n2,2019-10-01\n", warned=warned)
    assert warned == []


# ── labels, ids, null words, numbers ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("written", "label"),
    [("True", 1), ("False", 0), ("yes", 1), ("No", 0), ("TRUE", 1), ("f", 0), ("", 1), ("0", 0), ("4.5", 4.5),
     ("1e1", 10), ('"1,234.5"', 1234.5), (" 2 ", 2)],
)  # fmt: skip
def test_labels_are_read_as_numbers(imported: Import, written: str, label: float) -> None:
    assert imported(f"entity_id,label\n1,{written}\n2,1\n").events["label"].to_list() == [label, 1]


@pytest.mark.parametrize("written", ["nan", "NULL", "inf", "maybe", "1_0", "-1", "0x1"])
def test_text_that_is_not_a_label_is_refused_by_its_value(imported: Import, written: str) -> None:
    with pytest.raises(DatasetError, match=rf"clicks\.csv line 2, column label: expected a number.*{written}"):
        imported(f"entity_id,label\n1,{written}\n2,1\n")


def test_a_decimal_comma_is_refused_with_a_hint_and_read_with_the_option(imported: Import) -> None:
    text = 'entity_id;label\n1;"0,5"\n2;1.234,5\n3;1.000\n'
    with pytest.raises(DatasetError, match=r'expected a number, got "0,5" \(see --decimal\)'):
        imported(text)
    assert imported(text, decimal=",").events["label"].to_list() == [0.5, 1234.5, 1000]
    items = "entity_id;display_name;price\n1;Lamp;0,5\n2;Chair;1.234,5\n3;Rug;7\n"
    assert [row["price"] for row in imported(entities=items, decimal=",").entities] == [0.5, 1234.5, 7]
    grouped = 'entity_id,display_name,price\n1,Lamp,"1,234"\n2,Chair,1 234.5\n3,Rug,5\n'
    assert [row["price"] for row in imported(entities=grouped).entities] == [1234, 1234.5, 5]


def test_one_id_whichever_way_it_is_written(imported: Import) -> None:
    dataset = imported("entity_id,user_id\n1.0,7.0\n2,7\n", "entity_id,display_name\n1,Lamp\n2.0,Chair\n")
    assert [row["entity_id"] for row in dataset.entities] == ["1", "2"]
    assert dataset.events["entity_id"].to_list() == ["1", "2"]
    assert dataset.events["user_id"].to_list() == ["7", "7"]


@pytest.mark.parametrize("word", ["NULL", "null", "NaN", "nan", "None", "\\N", "NA", "N/A", "<NA>", ""])
def test_null_words_count_where_a_value_may_be_unknown(imported: Import, word: str) -> None:
    events = f"entity_id,user_id,query,position,timestamp,task\n1,{word},{word},{word},{word},{word}\n2,u,q,1,,search\n"
    row = imported(events, f"entity_id,display_name,about\n1,Lamp,{word}\n2,Chair,x\n")
    first = row.events.row(0, named=True)
    assert [first[name] for name in ("user_id", "query", "position", "timestamp")] == [None] * 4
    assert first["task"] == "homepage"
    assert "about" not in row.entities[0]


def test_a_film_may_be_called_none_and_a_country_na(imported: Import) -> None:
    dataset = imported("entity_id,country\nNA,NA\nNone,DE\n", "entity_id,display_name\nNA,None\nNone,NULL\n")
    assert [row["display_name"] for row in dataset.entities] == ["None", "NULL"]
    assert dataset.events["country"].to_list() == ["NA", "DE"]


def test_null_words_can_be_replaced(imported: Import) -> None:
    events = "entity_id,query\n1,none\n2,-\n3,NULL\n"
    assert imported(events, null=("-",)).events["query"].to_list() == ["none", None, "NULL"]


def test_columns_that_are_empty_in_part_take_their_defaults(imported: Import) -> None:
    events = imported("entity_id,label,task,ranking_id\n1,,,\n2,0,search,r\n").events
    assert events.select("label", "task", "ranking_id").rows() == [(1.0, "homepage", "row-2"), (0.0, "search", "r")]


def test_codes_with_leading_zeros_are_texts(imported: Import) -> None:
    items = "entity_id,display_name,postcode,year\n1,Lamp,02134,1999\n2,Chair,10115,2000\n"
    dataset = imported(entities=items)
    assert dataset.columns == {"postcode": "text", "year": "number"}
    assert dataset.entities[0]["postcode"] == "02134"
