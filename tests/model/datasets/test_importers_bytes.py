"""Files of many encodings, compressions, line ends, delimiters and headers are imported, or refused with a clear
message.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
from backports import zstd
from table_imports import CLICKS, Import, rejected

from model.datasets.errors import DatasetError

# ── bytes: encodings, packing, line ends, delimiters, headers ───────────────────────────────────────────────

NAMES = "entity_id,display_name\n1,Amélie\n2,Æon Flux\n"


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (NAMES.encode("utf-8-sig"), None),
        (NAMES.encode("utf-16"), None),
        (b"\xfe\xff" + NAMES.encode("utf-16-be"), None),
        (NAMES.encode("utf-32"), None),
        (NAMES.encode("latin-1"), "latin-1"),
        (NAMES.encode("cp1252"), "cp1252"),
        (NAMES.encode("utf-16-le"), "utf-16-le"),
        (NAMES.encode("utf-8-sig"), "latin-1"),  # the mark decides
    ],
)
def test_every_common_encoding_is_read(imported: Import, content: bytes, encoding: str | None) -> None:
    events = "entity_id\n1\n".encode(encoding or "utf-8")
    dataset = imported(events, content, encoding=encoding)
    assert [row["display_name"] for row in dataset.entities] == ["Amélie", "Æon Flux"]


def test_an_encoding_that_is_not_named_is_refused_with_the_way_out(imported: Import) -> None:
    with pytest.raises(DatasetError, match=r"items\.csv line 2: expected text in UTF-8, .*--encoding"):
        imported(entities=NAMES.encode("latin-1"))
    with pytest.raises(DatasetError, match=r"NUL bytes; --encoding utf-16"):
        imported(entities=NAMES.encode("utf-16-le"))
    with pytest.raises(DatasetError, match=r"--encoding: expected a text encoding .*, got rot13x"):
        imported(encoding="rot13x")


def test_one_line_in_another_encoding_loses_only_itself(imported: Import) -> None:
    for quote in (b"", b'"'):
        rows = [b"%d," % n + quote + b"Lamp" + quote for n in range(200)]
        rows[50] = "50,Amélie".encode("latin-1")
        dataset = imported("entity_id\n1\n", b"entity_id,display_name\n" + b"\n".join(rows), limit=0.01)
        assert len(dataset.entities) == 199
        assert [line for _, line, _ in rejected(dataset)] == [52]


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("a.CSV", bytes), ("a.csv.gz", gzip.compress), ("a.CSV.GZ", gzip.compress), ("a.csv.bz2", bz2.compress),
        ("a.csv.xz", lzma.compress), ("a.csv.zst", zstd.compress), ("a.csv", gzip.compress), ("a.txt", bytes),
        ("a.v2.csv", bytes),
    ],
)  # fmt: skip
def test_packed_and_plain_files_are_read_whatever_their_names(
    imported: Import, tmp_path: Path, name: str, pack: Callable[[bytes], bytes]
) -> None:
    (tmp_path / name).write_bytes(pack(CLICKS.encode()))
    assert imported(tmp_path / name).events["user_id"].to_list() == ["ann", "bob"]


def test_packed_tab_separated_files_and_json_lines_are_read(imported: Import, tmp_path: Path) -> None:
    (tmp_path / "a.tsv.zst").write_bytes(zstd.compress(CLICKS.replace(",", "\t").encode()))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"entity_id": 1, "user_id": "ann"}\n'))
    assert imported(tmp_path / "a.tsv.zst").events.height == 2
    assert imported(tmp_path / "a.jsonl.gz").events["entity_id"].to_list() == ["1"]


@pytest.mark.parametrize(("name", "magic"), [("a.csv.gz", gzip.compress), ("a.csv.zst", zstd.compress)])
def test_a_packed_file_that_was_cut_off_is_refused(
    imported: Import, tmp_path: Path, name: str, magic: Callable[[bytes], bytes]
) -> None:
    rows = "".join(f"1,{hash(n)}\n" for n in range(9999))
    (tmp_path / name).write_bytes(magic(f"entity_id,user_id\n{rows}".encode())[:-2000])
    with pytest.raises(DatasetError, match="expected a whole packed file"):
        imported(tmp_path / name)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("final", [True, False])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_line_ends_and_delimiters_are_detected(imported: Import, end: str, final: bool, delimiter: str) -> None:
    lines = [line.replace(",", delimiter) for line in ("entity_id,query,user_id", "1,a b,ann", "2,c d,bob")]
    events = imported(end.join(lines) + (end if final else "")).events
    assert events.select("entity_id", "query", "user_id").rows() == [("1", "a b", "ann"), ("2", "c d", "bob")]


def test_a_delimiter_by_option_and_by_excel_s_first_line(imported: Import) -> None:
    assert imported("entity_id#user_id\n1#a\n", delimiter="#").events["user_id"].to_list() == ["a"]
    assert imported("sep=;\nentity_id;user_id\n1;a\n").events["user_id"].to_list() == ["a"]


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("entity_id,user_id,user_id", "expected each column once, got user_id as columns 2 and 3"),
        ("entity_id,user_id, user_id ", "expected each column once, got user_id as columns 2 and 3"),
        ("item,user_id,x", r"column entity_id: expected it or a map entity_id=COLUMN, found item, user_id, x"),
    ],
)
def test_headers_that_cannot_be_used_are_refused(imported: Import, header: str, says: str) -> None:
    with pytest.raises(DatasetError, match=says):
        imported(f"{header}\n1,a,b\n")


def test_blanks_in_headers_are_stripped_and_unnamed_columns_left_out(imported: Import) -> None:
    warned: list[str] = []
    events = imported(", entity_id ,user_id \n0,1,ann\n1,2,bob\n", warned=warned).events
    assert events["user_id"].to_list() == ["ann", "bob"]
    assert warned == ["clicks.csv: 1 columns without a name are left out"]


@pytest.mark.parametrize(
    ("suffix", "content", "says"),
    [
        (".csv", "", "found an empty file"),
        (".csv", "\n\n", "found an empty file"),
        (".csv", "entity_id,user_id\n", "expected at least one row"),
        (".jsonl", "", "found an empty file"),
        (".parquet", "PAR1", "expected a Parquet file"),
        (".xlsx", "x", r"expected one of \.csv"),
        (".csv", "entity_id,user_id\n1,a\n1,b,c\n", r"clicks\.csv line 3: expected 2 fields, got 3"),
    ],
)
def test_files_without_a_table_are_refused(imported: Import, suffix: str, content: str, says: str) -> None:
    with pytest.raises(DatasetError, match=says):
        imported(content, suffix=suffix)
