"""A name is found by the other ways to type it, and has no more of them than a record can hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.text.normalise import words
from model.text.spellings import MOST, spellings


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("King Kong", {"kingkong"}),
        ("V/H/S", {"vhs"}),
        ("E.T. the Extra-Terrestrial", {"extraterrestrial"}),
        ("L.A. Confidential", {"laconfidential"}),
        ("Rocky II", {"2", "two"}),
        ("Alien³", {"alien", "3", "iii", "three"}),
        ("12 Monkeys", {"twelve", "xii"}),
        ("Twelve Monkeys", {"12"}),
        ("50 First Dates", {"fifty"}),
        ("Saw V", {"5", "five"}),
        ("Part I", {"1", "one"}),
    ],
)
def test_other_ways_to_type_a_name(name: str, typed: set[str]) -> None:
    assert typed <= set(spellings(words(name)))


@pytest.mark.parametrize(
    ("name", "nothing"), [("V for Vendetta", "5"), ("I, Robot", "1"), ("0", "xx"), ("Heat", "heat"), ("", "")]
)
def test_what_is_no_other_way_to_type_a_name(name: str, nothing: str) -> None:
    assert nothing not in spellings(words(name))


@given(st.text(max_size=400))
def test_they_are_new_distinct_and_few(name: str) -> None:
    found = spellings(words(name))
    assert len(set(found)) == len(found) <= MOST
    assert not set(found) & set(words(name)[:16])
