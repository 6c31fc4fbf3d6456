"""Text or typed cells → values: ids, numbers, labels, attributes. One cell or one column at a time."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from datetime import date, time
from decimal import Decimal

import polars as pl

from model.datasets.errors import FileFormatError, shown

LIST_MARK = "|"
LABEL_WORDS = {"true": 1.0, "yes": 1.0, "y": 1.0, "t": 1.0, "false": 0.0, "no": 0.0, "n": 0.0, "f": 0.0}
_INTEGER_AS_DECIMAL = re.compile(r"([+-]?\d+)\.0+")
_GROUPS = "\u00a0\u202f'\u2019"  # no-break spaces and apostrophes between thousands
_GROUPED = {
    ".": re.compile(rf"[+-]?\d{{1,3}}(?:[,{_GROUPS} ]\d{{3}})+(?:\.\d+)?"),
    ",": re.compile(rf"[+-]?(?:\d{{1,3}}(?:[.{_GROUPS} ]\d{{3}})+|\d+)?(?:,\d+)?(?:[eE][+-]?\d+)?"),
}
_THOUSANDS = {".": f",{_GROUPS} ", ",": f".{_GROUPS} "}


def identifier(cell: object) -> object:
    """An id or a name from a typed cell: whole numbers become their digits, other values stay.

    >>> identifier(5), identifier(5.0), identifier("5")
    ('5', '5', '5')
    """
    if isinstance(cell, Decimal):
        cell = float(cell)
    if isinstance(cell, bool) or not isinstance(cell, (int, float)):
        return cell
    return str(int(cell)) if float(cell).is_integer() else str(cell)


def same_id(cell: object) -> object:
    """An id, with an integer that a tool has written as `1.0` turned back into `1`; the same in every column of ids.

    >>> same_id("1.0"), same_id(1.0), same_id("1.5"), same_id("v1.0")
    ('1', '1', '1.5', 'v1.0')
    """
    text = identifier(cell)
    if isinstance(text, str) and (match := _INTEGER_AS_DECIMAL.fullmatch(text)):
        return match[1]
    return text


def number_or_none(cell: object, decimal: str = ".") -> float | int | None:
    """A finite number from a number or its text; NaN and infinities give None. Thousands may be grouped.

    >>> number_or_none("1,234.5"), number_or_none("1.234,5", ","), number_or_none("1,5"), number_or_none("nan")
    (1234.5, 1234.5, None, None)
    """
    if isinstance(cell, (bool, int)):
        return int(cell)
    text = str(cell).strip()
    if isinstance(cell, str):
        if _GROUPED[decimal].fullmatch(text):
            text = text.translate({ord(mark): None for mark in _THOUSANDS[decimal]}).replace(",", ".")
        elif decimal == ",":
            return None
    try:
        number = float(text)
    except ValueError:
        return None
    if not math.isfinite(number) or "_" in text:
        return None
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def numbers(cells: pl.Series, decimal: str = ".") -> pl.Series:
    """A column of texts as Float64, null if a cell is not a finite number."""
    plain = (
        cells.str.contains(r"^[+-]?\d{1,15}$") if decimal == "," else pl.Series([True]).new_from_index(0, len(cells))
    )
    parsed = cells.set(~plain.fill_null(False), None).cast(pl.Float64, strict=False)
    parsed = parsed.set(~parsed.is_finite().fill_null(True), None)
    remaining = (parsed.is_null() & cells.is_not_null()).arg_true()
    if remaining.is_empty():
        return parsed
    values = [number_or_none(cell, decimal) for cell in cells.gather(remaining)]
    return parsed.scatter(remaining, pl.Series(values, dtype=pl.Float64, strict=False))


def labels(cells: pl.Series, decimal: str = ".") -> pl.Series:
    """A column of texts as labels: numbers, or true and false, yes and no in any case."""
    words = (
        cells.str.strip_chars().str.to_lowercase().replace_strict(LABEL_WORDS, default=None, return_dtype=pl.Float64)
    )
    return numbers(cells.set(words.is_not_null().fill_null(False), None), decimal).zip_with(words.is_null(), words)


def as_texts(name: str, cells: pl.Series | Sequence[object]) -> tuple[pl.Series, dict[int, object]]:
    """A column as texts, and by row the cells that have no text: lists, objects, bytes that are not UTF-8."""
    if isinstance(cells, pl.Series):
        if cells.dtype == pl.String:
            return cells, {}
        if cells.dtype.is_integer():
            return cells.cast(pl.String), {}
        cells = cells.to_list()
    odd: dict[int, object] = {}
    texts: list[str | None] = []
    for place, cell in enumerate(cells):
        text = as_text(cell)
        if text is None and cell is not None and cell == cell:
            odd[place] = cell
        texts.append(text)
    return pl.Series(name, texts, dtype=pl.String), odd


def as_text(cell: object) -> str | None:
    """The text of one typed cell; None if it has none (null, NaN, a list, an object, other bytes)."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, (int, float, Decimal)):
        return None if cell != cell else str(identifier(cell))
    if isinstance(cell, (date, time)):
        return cell.isoformat()
    if isinstance(cell, bytes):
        try:
            return cell.decode()
        except UnicodeDecodeError:
            return None
    return None


# ── attributes ──────────────────────────────────────────────────────────────────────────────────────────────


def attribute(cells: Sequence[object], decimal: str = ".") -> list[object]:
    """A column of attribute values, typed.

    Strings become numbers if all of them are numbers (none with a leading zero), lists if more than half of them
    contain `|`; else they stay strings.
    """
    filled = [cell for cell in cells if cell is not None]
    if not filled or not all(isinstance(cell, str) for cell in filled):
        return [_typed_value(cell) for cell in cells]
    if not any(map(_has_leading_zero, filled)) and None not in [number_or_none(cell, decimal) for cell in filled]:
        return [None if cell is None else number_or_none(cell, decimal) for cell in cells]
    if 2 * sum(LIST_MARK in str(cell) for cell in filled) > len(filled):
        return [_split_list(cell) for cell in cells]
    return list(cells)


def _has_leading_zero(cell: object) -> bool:
    """Whether the cell is a code such as a postcode, not a number."""
    return re.fullmatch(r"0\d+", str(cell)) is not None


def _typed_value(cell: object) -> object:
    """A cell of a typed file as text, list or number: booleans are 0 and 1, a list loses its nulls."""
    if isinstance(cell, (bool, Decimal)):
        return number_or_none(int(cell) if isinstance(cell, bool) else float(cell))
    if isinstance(cell, list):
        return [identifier(item) if isinstance(item, (int, float)) else item for item in cell if item is not None]
    if isinstance(cell, float) and math.isnan(cell):
        return None
    return cell if isinstance(cell, (str, int, float)) else as_text(cell)


def _split_list(cell: object) -> list[str] | None:
    if cell is None:
        return None
    return [item.strip() for item in str(cell).split(LIST_MARK) if item.strip()]


def refuse_attribute(file: str, name: str, cells: Iterable[object]) -> None:
    """Raise `FileFormatError` for a column that no attribute can hold, naming its first such value."""
    for cell in cells:
        fraction = isinstance(cell, list) and any(isinstance(i, float) and not i.is_integer() for i in cell)
        nested = isinstance(cell, list) and any(isinstance(item, (list, dict, bytes)) for item in cell)
        other = cell is not None and not isinstance(cell, (list, float)) and as_text(cell) is None
        if fraction or nested or other:
            expected = "text, a number or a list of strings"
            raise FileFormatError(
                f"{file}, column {name}: expected {expected}, got {shown(cell)}; --drop {name} leaves the column out"
            )
