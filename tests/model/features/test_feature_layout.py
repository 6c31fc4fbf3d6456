"""The layout: groups stand side by side in their order, and what a context lacks has no column that varies."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from model.features.layout import FeatureGroup, FeatureLayout, GivenParts, write_rows

LAYOUT = FeatureLayout((
    FeatureGroup("query", (("a", "b"), ("c",)), needs="query"),
    FeatureGroup("country", ((),), needs="country"),
    FeatureGroup("size", (("d",),), varies=False),
    FeatureGroup("entity", (("e",), ("f", "g"))),
))  # fmt: skip


def given(*parts: str) -> GivenParts:
    return GivenParts(*(part in parts for part in GivenParts._fields))


def test_names_and_columns_follow_the_groups() -> None:
    assert LAYOUT.names == tuple("abcdefg")
    assert len(LAYOUT) == 7
    found = {group.name: LAYOUT.names[LAYOUT.columns(group.name)] for group in LAYOUT.groups}
    assert found == {"query": ("a", "b", "c"), "country": (), "size": ("d",), "entity": ("e", "f", "g")}
    with pytest.raises(KeyError):
        LAYOUT.columns("source")


def test_only_groups_whose_part_is_given_vary() -> None:
    alone, asked = LAYOUT.varying(given()), LAYOUT.varying(given("query", "country"))
    assert alone.columns.tolist() == [4, 5, 6]
    assert alone.rows == {"entity": slice(0, 3)}
    assert asked.columns.tolist() == [0, 1, 2, 4, 5, 6]
    assert asked.rows == {"query": slice(0, 3), "country": slice(3, 3), "entity": slice(3, 6)}


@pytest.mark.parametrize("parts", list(product((False, True), repeat=4)))
def test_rows_of_a_group_are_its_columns(parts: tuple[bool, ...]) -> None:
    found = LAYOUT.varying(GivenParts(*parts))
    for name, rows in found.rows.items():
        columns = LAYOUT.columns(name)
        assert found.columns[rows].tolist() == list(range(columns.start, columns.stop))


def test_a_group_is_split_into_views_of_its_blocks() -> None:
    rows = np.zeros((3, 2), np.float32)
    first, (last,) = LAYOUT.groups[0].split(rows)
    write_rows(first, np.array([1, 2]), np.array([True, False]))
    last[:] = 9
    assert rows.tolist() == [[1, 2], [1, 0], [9, 9]]
    with pytest.raises(ValueError, match="shorter"):
        write_rows(first, np.zeros(2))
