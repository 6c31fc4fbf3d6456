"""Any table that Python's csv module writes is imported as written; any damaged line loses only itself.

Parts that are decided in batches are those that `model/events/parts.py` decides of the whole table.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
from hypothesis import example, given, settings
from hypothesis import strategies as st

from model.datasets.dataset import Dataset
from model.datasets.importers import text_files
from model.datasets.importers.table_batches import Batch, ReadOptions
from model.datasets.importers.tables import import_tables, open_table
from model.events.parts import assign_parts
from model.events.table import conform

Rows = list[list[str]]
TEXT = st.text(
    st.sampled_from('ab1,;|"\n\r\t \\.é\u2028\ufeff\0') | st.characters(exclude_categories=["Cs"]), max_size=12
)
WIDTH = st.shared(st.integers(1, 4), key="width")
TABLES = WIDTH.flatmap(lambda width: st.lists(st.lists(TEXT, min_size=width, max_size=width), min_size=1, max_size=12))
SAFE = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='",'), min_size=1, max_size=8)


def written(rows: Rows, **style: object) -> str:
    stream = io.StringIO(newline="")
    names = [f"column {place}" for place in range(len(rows[0]))]
    csv.writer(stream, **style).writerows([names, *rows])
    return stream.getvalue()


def read(text: bytes, options: ReadOptions, block: int) -> list[Batch]:
    before, text_files.BLOCK = text_files.BLOCK, block
    try:
        with TemporaryDirectory() as folder:
            file = Path(folder, "table.csv")
            file.write_bytes(text)
            return list(open_table(file, options, lambda said: None).batches)
    finally:
        text_files.BLOCK = before


def rows_of(batches: list[Batch]) -> Rows:
    """Cells with "" for null, as the csv module reads."""
    return [[cell or "" for cell in row] for batch in batches for row in pl.DataFrame(batch.columns).rows()]


@settings(max_examples=100, deadline=None)
@given(
    TABLES,
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([7, 50, 2**23]),
)
@example([["\ufeffa"], ["b"]], csv.QUOTE_MINIMAL, ",", "\n", 7)
@example([["a\nb,c\nd,e\n", "x"]], csv.QUOTE_MINIMAL, ",", "\r\n", 7)
@example([["\0", "1"]], csv.QUOTE_MINIMAL, ",", "\n", 50)
@example([[" a ", "", "'"], ["", "", ""]], csv.QUOTE_MINIMAL, ",", "\n", 50)
def test_any_table_of_the_csv_module(rows: Rows, quoting: int, delimiter: str, end: str, block: int) -> None:
    """The module leaves a lone CR bare where lines end in LF, and cannot read it back: there, texts are without."""
    if end == "\n":
        rows = [[cell.replace("\r", "") for cell in row] for row in rows]
    text = written(rows, quoting=quoting, delimiter=delimiter, lineterminator=end)
    batches = read(text.encode(), ReadOptions(delimiter=delimiter, quote='"'), block)
    assert [bad for batch in batches for bad in batch.rejected] == []
    assert rows_of(batches) == rows


LINE = st.tuples(st.integers(0, 9999).map(str), SAFE, st.integers(0, 9999).map(str)).map(list)
DAMAGE = {
    "a quote opens": lambda line: line.replace(",", ',"', 1),
    "a field too many": lambda line: line + ",1",
    "a field too few": lambda line: line.rpartition(",")[0],
    "a quote inside quotes": lambda line: '"a"b,' + line.split(",", 1)[1],
    "a byte": lambda line: line + "\udcff",
}


@settings(max_examples=50, deadline=None)
@given(
    st.lists(LINE, min_size=4, max_size=30), st.data(), st.sampled_from(sorted(DAMAGE)), st.booleans(),
    st.sampled_from([20, 2**23]),
)  # fmt: skip
def test_any_damaged_line_loses_only_itself(
    rows: Rows, data: st.DataObject, damage: str, quoted: bool, block: int
) -> None:
    place = data.draw(st.integers(0, len(rows) - 1))
    rows = [[number, f"{text}, x" if quoted else text, votes] for number, text, votes in rows]
    lines = written(rows, lineterminator="\n").split("\n")[:-1]
    lines[place + 1] = DAMAGE[damage](lines[place + 1] if not quoted else f"1,{lines[place + 1].split(',')[0]},2")
    text = "\n".join(lines).encode(errors="surrogateescape")
    batches = read(text, ReadOptions(delimiter=","), 2**23 if damage == "a byte" else block)
    assert [bad.line for batch in batches for bad in batch.rejected] == [place + 2]
    assert rows_of(batches) == rows[:place] + rows[place + 1 :]


EVENT = st.fixed_dictionaries(
    {"ranking_id": st.none() | st.sampled_from([f"r{n}" for n in range(40)]), "entity_id": st.sampled_from(["1", "2"])},
    optional={"timestamp": st.integers(1_600_000_000, 1_600_000_009), "part": st.sampled_from(["train", "test"])},
)
WHO = st.fixed_dictionaries(
    {"user_id": st.none() | st.sampled_from(["u", "v"]), "query": st.none() | st.sampled_from(["a b", "c", "d", "!"]),
     "source_entity_id": st.none() | st.sampled_from(["1", "2"])}
)  # fmt: skip


@settings(max_examples=12, deadline=None)
@given(st.lists(EVENT, min_size=1, max_size=80), st.lists(WHO, min_size=41, max_size=41), st.booleans())
def test_parts_of_batches_are_those_of_the_whole_table(
    events: list[dict[str, object]], who: list[dict[str, object]], alone: bool
) -> None:
    """A ranking has one context, as slates do."""
    rows = [{**row, **who[int(str(row["ranking_id"] or "r40")[1:])]} for row in events]
    rows = [{name: cell for name, cell in row.items() if not (alone and name == "ranking_id")} for row in rows]
    with TemporaryDirectory() as folder:
        items, clicks = Path(folder, "items.jsonl"), Path(folder, "clicks.csv")
        items.write_text('{"entity_id": "1", "display_name": "a"}\n{"entity_id": "2", "display_name": "b"}\n')
        names = ["ranking_id", "entity_id", "timestamp", "part", "user_id", "query", "source_entity_id"][alone:]
        with clicks.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, names)
            writer.writeheader()
            writer.writerows(rows)
        import_tables(Path(folder, "out"), items, clicks, {})
        found = Dataset.load(Path(folder, "out"), max_rejected=0).events
    bare = found.with_columns(part=pl.Series([row.get("part") for row in rows], dtype=pl.String))
    assert found["part"].to_list() == assign_parts(conform(bare))["part"].to_list()
