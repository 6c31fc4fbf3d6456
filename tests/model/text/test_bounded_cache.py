"""A bounded cache makes a value once while it is kept, drops the least recently used first, and keeps no failure."""

from __future__ import annotations

import pytest

from model.text.bounded_cache import BoundedCache


def test_a_value_is_made_once_and_the_least_recently_used_goes_first() -> None:
    made: list[str] = []

    def make(key: str) -> str:
        made.append(key)
        return key.upper()

    cache: BoundedCache[str, str] = BoundedCache(2)
    assert [cache.get(key, make) for key in "abacb"] == list("ABACB")
    assert made == ["a", "b", "c", "b"]  # "a" was used after "b", so "c" took the place of "b"
    assert [cache.get(key, make) for key in "cba"] == list("CBA")
    assert made == ["a", "b", "c", "b", "a"]


def test_none_is_a_key_and_a_value() -> None:
    cache: BoundedCache[str | None, None] = BoundedCache(1)
    made: list[str | None] = []
    assert cache.get(None, made.append) is None
    assert cache.get(None, made.append) is None
    assert made == [None]


def test_what_making_raises_is_raised_and_not_kept() -> None:
    cache: BoundedCache[str, int] = BoundedCache(1)
    with pytest.raises(ValueError, match="invalid literal"):
        cache.get("x", int)
    assert cache.get("x", len) == 1
