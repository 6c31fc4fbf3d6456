"""Damage to bytes, as a disk, an interrupted copy or an attacker does it: a hypothesis strategy. Tests nothing."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

Damage = tuple[str, int, bytes]


def damages(*kinds: str) -> st.SearchStrategy[list[Damage]]:
    """One to three damages of these kinds: `flip`, `cut` and `insert`. Places count from either end."""
    damage = st.tuples(
        st.sampled_from(kinds), st.integers(-(2**20), 2**20) | st.integers(-64, 64), st.binary(min_size=1, max_size=24)
    )
    return st.lists(damage, min_size=1, max_size=3)


def damaged(whole: bytes, damages: Sequence[Damage]) -> bytes:
    """The bytes after all of it.

    >>> damaged(b"abcdef", [("cut", -2, b"12")]), damaged(b"abc", [("insert", 1, b"x")])
    (b'abcd', b'axbc')
    """
    left = bytearray(whole)
    for kind, place, noise in damages:
        at = place % max(1, len(left))
        if kind == "insert":
            left[at:at] = noise
        elif kind == "cut":
            del left[at : at + len(noise)]
        elif left:
            left[at] ^= noise[0] or 1
    return bytes(left)
