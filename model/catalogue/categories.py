"""The known values of category columns, each with its own number. Does no hashing, so numbers never collide.

A value that fewer than `LEAST` entities have adds nothing to the entity's id. It is null, as is an unknown value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

NULL_CATEGORY = 0
LEAST = 2  # entities that must share a value
LONGEST = 256  # characters; longer values are not categories


class Categories:
    """The known values, numbered from 1: `keys[n - 1]` has number n. A key combines a column's index and a value."""

    def __init__(self, keys: Sequence[str]) -> None:
        self.keys = list(keys)
        self._numbers = {key: number for number, key in enumerate(self.keys, start=1)}

    @classmethod
    def fit(cls, entities: Iterable[Iterable[str]], most: int) -> Categories:
        """Count the keys of each entity and keep the `most` frequent; ties in the order of the keys.

        >>> Categories.fit([["0=war", "0=heist"], ["0=war"], ["0=drama"], ["0=drama"], ["0=war"]], 9).keys
        ['0=war', '0=drama']
        """
        counts = Counter(key for keys in entities for key in set(keys) if len(key) <= LONGEST)
        known = sorted((key for key, count in counts.items() if count >= LEAST), key=lambda key: (-counts[key], key))
        return cls(known[: max(most, 0)])

    def __len__(self) -> int:
        return len(self.keys)

    def numbers(self, keys: Iterable[str]) -> list[int]:
        """The numbers of the known `keys`; `NULL_CATEGORY` alone where none is known."""
        return [number for key in keys if (number := self._numbers.get(key))] or [NULL_CATEGORY]
