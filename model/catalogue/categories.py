"""Which values of category columns a network knows, each by a number of its own. Shares nothing by hashing.

What fewer than `LEAST` entities have says no more than the entity's id, and is null like a value that came later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

NULL_CATEGORY = 0
LEAST = 2  # entities that have a value, for it to be known
LONGEST = 256  # characters; longer ones are no category


class Categories:
    """The known values, from 1 on: `keys[n - 1]` is number n. A key is the place of a column and a value."""

    def __init__(self, keys: Sequence[str]) -> None:
        self.keys = list(keys)
        self._numbers = {key: number for number, key in enumerate(self.keys, start=1)}

    @classmethod
    def fit(cls, entities: Iterable[Iterable[str]], most: int) -> Categories:
        """Count the keys of each entity; the `most` commonest are kept, ties in the order of the keys.

        >>> Categories.fit([["0=war", "0=heist"], ["0=war"], ["0=drama"], ["0=drama"], ["0=war"]], 9).keys
        ['0=war', '0=drama']
        """
        counts = Counter(key for keys in entities for key in set(keys) if len(key) <= LONGEST)
        known = sorted((key for key, count in counts.items() if count >= LEAST), key=lambda key: (-counts[key], key))
        return cls(known[: max(most, 0)])

    def __len__(self) -> int:
        return len(self.keys)

    def numbers(self, keys: Iterable[str]) -> list[int]:
        """Those of the known ones among `keys`; the null alone where none is known."""
        return [number for key in keys if (number := self._numbers.get(key))] or [NULL_CATEGORY]
