"""Entities of any table → checked rows with typed attributes. Held in memory, as in training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from model.datasets.dataset import check_entities, infer_columns
from model.datasets.errors import FileFormatError, Rejected
from model.datasets.importers.cells import as_text, attribute, refuse_attribute, same_id
from model.datasets.importers.table_batches import Batch, ReadOptions

Row = dict[str, object]
_EVENT_LIKE = {"user_id", "timestamp", "label", "position", "ranking_id", "task", "query", "rating"}


@dataclass
class WholeTable:
    """All cells of a file by column, the line of each row, and the rejected rows."""

    file: str
    columns: dict[str, list[object]] = field(default_factory=dict)
    lines: list[int] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    undecodable: int = 0

    @property
    def rows(self) -> int:
        """Number of rows of the file, rejected ones included."""
        return len(self.lines) + len(self.rejected)

    def add(self, batch: Batch) -> None:
        """Append one batch; columns that it lacks are null in its rows."""
        before = len(self.lines)
        for name, cells in batch.columns.items():
            kept = self.columns.setdefault(name, [None] * before)
            kept.extend(cells.to_list() if isinstance(cells, pl.Series) else cells)
        self.lines += batch.lines
        self.rejected += batch.rejected
        self.undecodable += batch.undecodable
        for kept in self.columns.values():
            kept.extend([None] * (len(self.lines) - len(kept)))


def flat_columns(columns: Mapping[str, list[object]]) -> Iterator[tuple[str, list[object]]]:
    """The columns; a column of objects becomes one column per key: `a.b`."""
    for name, cells in columns.items():
        keys = dict.fromkeys(key for cell in cells if isinstance(cell, dict) for key in cell)
        if not keys:
            yield name, cells
            continue
        inner = {f"{name}.{key}": [cell.get(key) if isinstance(cell, dict) else None for cell in cells] for key in keys}
        yield from flat_columns(inner)


def typed_entities(table: WholeTable, columns: Mapping[str, list[object]], options: ReadOptions) -> list[Row]:
    """Rows of the mapped columns: ids and names as texts, attributes typed by column, null words as None.

    Raises `FileFormatError` for a column that no attribute can hold.
    """
    cells = {"entity_id": [_text_or_none(same_id(cell)) for cell in columns["entity_id"]]}
    cells["display_name"] = [_text_or_none(_name(cell)) for cell in columns["display_name"]]
    null = {"", *options.null}
    for name, values in flat_columns({n: c for n, c in columns.items() if n not in cells}):
        cleaned = [None if isinstance(cell, str) and cell in null else cell for cell in values]
        refuse_attribute(table.file, name, cleaned)
        cells[name] = attribute(cleaned, options.decimal)
    return [dict(zip(cells, row, strict=True)) for row in zip(*cells.values(), strict=True)]


def _name(cell: object) -> object:
    return cell if (text := as_text(cell)) is None else text


def _text_or_none(cell: object) -> object:
    """An id or name; bytes and dates as their text, the empty text as None."""
    text = _name(cell)
    return None if text == "" else text


def checked_entities(table: WholeTable, rows: Sequence[Row]) -> tuple[list[Row], dict[str, str], list[Rejected]]:
    """Good entities, their column types, and all rejected rows in order of lines."""
    types = infer_columns(rows)
    good, bad = check_entities(zip(table.lines, rows, strict=True), table.file, types)
    return good, types, sorted([*table.rejected, *bad], key=lambda row: row.line)


def refuse_events(table: WholeTable, columns: Mapping[str, list[object]], good: int) -> None:
    """Raise `FileFormatError` if a table of entities repeats most of its ids, as a table of events does."""
    repeated = len(table.lines) - good
    if 2 * repeated > len(table.lines) and (event_columns := sorted(_EVENT_LIKE & set(columns))):
        raise FileFormatError(
            f"{table.file}: expected each entity once, but {repeated} of {len(table.lines)} rows are repeated or bad, "
            f"and it has the columns {', '.join(event_columns)}: it looks like a file of events"
        )
