"""A least-recently-used cache that belongs to one object. Independent of the type of its values."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class BoundedCache(Generic[Key, Value]):
    """Keeps at most `size` values and drops the least recently used one first.

    The cache stores no function: `get` takes it as an argument. So an object and its cache form no reference cycle, and
    both are freed without the garbage collector. Threads may share a cache; at worst a value is computed twice.

    >>> lengths: BoundedCache[str, int] = BoundedCache(2)
    >>> [lengths.get(word, len) for word in ("one", "three", "one")]
    [3, 5, 3]
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[Key, Value] = OrderedDict()

    def get(self, key: Key, make: Callable[[Key], Value]) -> Value:
        """The cached value of `key`, else `make(key)`, which is then kept. Errors of `make` pass through."""
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
