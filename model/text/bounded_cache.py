"""A bounded cache for what one object computes again and again. Knows nothing of what it keeps."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class BoundedCache(Generic[Key, Value]):
    """Keeps at most `size` values; the least recently used goes first.

    It holds no function, so that an object which owns one refers to itself nowhere and is freed without the garbage
    collector. Threads may share one: at worst a value is made twice.

    >>> lengths: BoundedCache[str, int] = BoundedCache(2)
    >>> [lengths.get(word, len) for word in ("one", "three", "one")]
    [3, 5, 3]
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[Key, Value] = OrderedDict()

    def get(self, key: Key, make: Callable[[Key], Value]) -> Value:
        """The value of `key`; `make(key)` where there is none. What `make` raises is raised, and nothing is kept."""
        try:
            self._values.move_to_end(key)
            return self._values[key]
        except KeyError:
            return self._add(key, make(key))

    def _add(self, key: Key, value: Value) -> Value:
        self._values[key] = value
        if len(self._values) > self._size:
            self._values.popitem(last=False)
        return value
