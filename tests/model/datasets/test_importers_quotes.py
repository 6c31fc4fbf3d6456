"""A legal quoted field over many lines is imported, a stray quote costs its own line, and no line is swallowed."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from model.datasets.errors import DatasetError
from model.datasets.importers import text_files
from model.datasets.importers.table_batches import ReadOptions
from model.datasets.importers.tables import import_tables, open_table

ROWS = 600
HEADER = "movie,title,year,votes"
LINES = [f"{n},Film {n},{1900 + n % 100},{n * 7}" for n in range(ROWS)]


def read(
    file: Path, text: str | bytes, warned: list[str] | None = None, **options: str
) -> tuple[list[tuple[str | None, ...]], list[int]]:
    """Rows of a file, and the lines that were set aside."""
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    told: list[str] = [] if warned is None else warned
    table = open_table(file, ReadOptions(**options), told.append)
    rows: list[tuple[str | None, ...]] = []
    bad = []
    for batch in table.batches:
        rows += pl.DataFrame(batch.columns).rows()
        bad += [one.line for one in batch.rejected]
    return rows, bad


def damaged(changes: dict[int, str], lines: list[str] = LINES) -> str:
    """The table with some of its lines replaced (0 = the first row, on line 2)."""
    return "\n".join([HEADER, *(changes.get(place, line) for place, line in enumerate(lines))]) + "\n"


def quoted(lines: list[str]) -> list[str]:
    return [",".join(f'"{cell}"' for cell in line.split(",")) for line in lines]


@pytest.mark.parametrize("block", [2**23, 4096, 100])
@pytest.mark.parametrize(
    ("changes", "lost"),
    [
        ({100: '100,"Film 100,2000,700'}, [102]),  # opens and never closes
        ({100: '100,"Film 100,2000,700', 101: '101,"Film 101,2001,707'}, [102, 103]),
        ({100: '100,"Film 100,2000,700', 400: '400,"Film 400,1900,2800'}, [102, 402]),
        ({100: '100,"Film 100,2000,700', 400: '400,Film 400",1900,2800'}, [102]),  # closes before a delimiter
        ({100: '100,"Film 100,2000,700', 103: '103,Film 103",1903,721'}, [102]),
        ({100: '100,"Film 100,2000,700', 101: '101,Film 101",1901,707'}, [102]),
        ({100: '100,"Film 100,2000,700', 400: '400,"Film, 400",1900,2800'}, [102]),
        ({100: '100,"Film" 100,2000,700'}, [102]),
        ({100: '"100,Film 100,2000,700'}, [102]),
        ({100: '100,Film 100,2000,"700'}, [102]),
        ({599: '599,"Film 599,1999,4193'}, [601]),
        ({0: '0,"Film 0,1900,0'}, [2]),
        ({100: '100,5" disc,2000,700', 101: '101,6" and 7",2001,707'}, []),  # inside a field: a sign like another
        ({100: '100,Film 100"",2000,700'}, []),
        ({100: "100,Film 100,2000"}, [102]),
        ({100: "100,Film, 100,2000,700"}, [102]),
        ({100: '100,"Film 100",2000'}, [102]),
    ],
)
def test_a_damaged_line_loses_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[int, str], lost: list[int], block: int
) -> None:
    """Whatever the size of the blocks that are read."""
    monkeypatch.setattr(text_files, "BLOCK", block)
    rows, bad = read(tmp_path / "a.csv", damaged(changes))
    assert bad == lost
    assert [row[0] for row in rows] == [str(n) for n in range(ROWS) if n + 2 not in lost]


@pytest.mark.parametrize("place", [0, 100, 599])
def test_a_stray_quote_among_quoted_rows_loses_only_its_line(tmp_path: Path, place: int) -> None:
    lines = quoted(LINES)
    for line in (lines[place].replace('"Film', '"Fi"lm'), lines[place][:-1], lines[place].replace('","', '",""', 1)):
        rows, bad = read(tmp_path / "a.csv", damaged({place: line}, lines))
        assert (bad, len(rows)) == ([place + 2], ROWS - 1), line


def test_the_reason_names_the_quote(tmp_path: Path) -> None:
    items, clicks = tmp_path / "items.csv", tmp_path / "clicks.csv"
    items.write_text(damaged({100: '100,"Film 100,2000,700'}))
    clicks.write_text("movie\n1\n")
    mapping = {"entity_id": "movie", "display_name": "title"}
    assert import_tables(tmp_path / "out", items, clicks, mapping)["rejected"] == 1
    (line,) = (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()
    assert json.loads(line) == {
        "file": "items.csv", "line": 102, "column": None,
        "reason": 'expected every quote to close, got one that never does in "100,\\"Film 100,2000,700"',
    }  # fmt: skip


@pytest.mark.parametrize("block", [2**23, 64])
def test_a_legal_field_over_many_lines_is_imported_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(text_files, "BLOCK", block)
    overview = 'A lamp, lit.\r\n\r\n"Who?" she asks,\nand goes,\rslowly.'
    cell = overview.replace('"', '""')
    lines = [HEADER, f'1,"{cell}",2000,5', "2,Plain,2001,6", f'3,"{cell}",2002,7']
    warned: list[str] = []
    rows, bad = read(tmp_path / "a.csv", "\n".join(lines), warned)
    assert (bad, [row[1] for row in rows]) == ([], [overview, "Plain", overview])
    assert warned == [
        "a.csv: 11 lines hold 3 records, as 2 of them run over several lines in a quoted field, the "
        "first on lines 2 to 6"
    ]


def test_a_field_of_a_thousand_lines_and_a_cell_of_a_million_signs(tmp_path: Path) -> None:
    long, wide = "line, of text\n" * 1000, "x" * 1_000_000
    rows, bad = read(tmp_path / "a.csv", f'{HEADER}\n1,"{long}",2000,5\n2,{wide},2001,6\n3,"{wide}",2002,7\n')
    assert (bad, [row[1] for row in rows]) == ([], [long, wide, wide])


def test_a_damaged_field_over_many_lines_is_one_rejected_record(tmp_path: Path) -> None:
    rows, bad = read(tmp_path / "a.csv", f'{HEADER}\n1,"one\ntwo\nthree",2000\n2,Plain,2001,6\n')
    assert (bad, rows) == ([2], [("2", "Plain", "2001", "6")])


def test_tabs_are_not_quoted_unless_asked_for(tmp_path: Path) -> None:
    text = 'a\tb\n1\t"Heroes"\n2\t"never closed\n3\tc\n'
    assert read(tmp_path / "a.tsv", text) == ([("1", '"Heroes"'), ("2", '"never closed'), ("3", "c")], [])
    quoted_rows = read(tmp_path / "a.tsv", 'a\tb\n1\t"x\ty"\n', quote='"')
    assert quoted_rows == ([("1", "x\ty")], [])
    assert read(tmp_path / "a.csv", "a,b\n1,'x,y'\n", quote="'") == ([("1", "x,y")], [])


def test_the_whole_import_counts_what_was_swallowed(tmp_path: Path) -> None:
    """The fault as it was found: the count of records is that of the lines, and the limit holds."""
    items, clicks = tmp_path / "items.csv", tmp_path / "clicks.csv"
    items.write_text("entity_id,display_name\n1,Lamp\n")
    rows = [f"1,u{n},lamp {n}" for n in range(500)]
    rows[50] = '1,u50,"lamp 50'
    clicks.write_text("\n".join(["entity_id,user_id,query", *rows]))
    assert import_tables(tmp_path / "out", items, clicks, {}) == {"entities": 1, "events": 499, "rejected": 1}
    with pytest.raises(DatasetError, match=r"clicks\.csv line 52: expected every quote to close"):
        import_tables(tmp_path / "out", items, clicks, {}, max_rejected=0.001)
