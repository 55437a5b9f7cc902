"""A cache that forgets what was used longest ago once it holds too many bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ByteCache(Generic[K, V]):
    """Values by key; the one asked for last is always kept.

    Args:
        limit_bytes: of all values together.
        size: bytes of a value.

    Attributes:
        bytes: held now.
    """

    def __init__(self, limit_bytes: int, size: Callable[[V], int]) -> None:
        self.bytes, self._limit, self._size = 0, limit_bytes, size
        self._held: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, key: K) -> bool:
        return key in self._held

    def get(self, key: K, make: Callable[[], V]) -> V:
        """The value of `key`, made now if it is not there."""
        if key in self._held:
            self._held.move_to_end(key)
            return self._held[key][0]
        value = make()
        size = self._size(value)
        self._held[key] = value, size
        self.bytes += size
        while self.bytes > self._limit and len(self._held) > 1:
            self.bytes -= self._held.popitem(last=False)[1][1]
        return value
