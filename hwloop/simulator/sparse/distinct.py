"""Questions about tiles, asked once for each distinct tile of a batch and remembered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.simulator.density import Floats, Ints

Row = tuple[int, ...]
_MIX = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5], np.uint64)


def by_distinct(columns: list[Any], cache: Cache | None, function: Callable[[Ints], Floats], single: bool) -> list[Any]:
    """`function` of every row of the columns, evaluated once for each distinct row.

    Args:
        columns: integers; their shapes broadcast to that of the batch. Of one mapping, numbers will do.
        cache: what is known of rows seen before; None to remember nothing.
        function: rows `(row, column)` to values `(row, value)`.
        single: whether there is one mapping.

    Returns:
        One number a value for one mapping, else one array of the batch's shape a value.
    """
    if single:
        row = tuple([column if isinstance(column, int) else int(column[0]) for column in columns])
        found = None if cache is None else cache.single.get(row)
        if found is None:
            found = tuple(function(np.array([row]))[0].tolist())
            if cache is not None:
                cache.single[row] = found
        return list(found)
    spread = np.broadcast_arrays(*columns)
    shape = spread[0].shape
    mixed = np.zeros(shape, np.uint64)
    for i, column in enumerate(columns):
        mixed = (mixed ^ (mixed >> np.uint64(29))) * _MIX[i % 4] + np.asarray(column).astype(np.uint64) * _MIX[(i + 1) % 4]
    hashes, first, inverse = np.unique(mixed.reshape(-1), return_index=True, return_inverse=True)
    rows = np.stack([column.reshape(-1)[first] for column in spread], axis=1)
    table = function(rows) if cache is None else cache.answers(hashes, rows, function)
    return list(table.T[:, inverse].reshape(-1, *shape))


class Cache:
    """What is known of rows seen before, at most `limit` of them.

    Attributes:
        single: rows asked for one by one.
    """

    def __init__(self, limit: int) -> None:
        self.single: dict[Row, tuple[float, ...]] = {}
        self._limit = limit
        self._hashes = np.zeros(0, np.uint64)  # ascending
        self._rows: Ints = np.zeros((0, 0), np.int64)
        self._answers: Floats = np.zeros((0, 0))

    def trim(self) -> None:
        """Forgets everything when it has grown past the limit."""
        if len(self.single) > self._limit:
            self.single.clear()
        if len(self._hashes) > self._limit:
            self._hashes = self._hashes[:0]

    def answers(self, hashes: NDArray[np.uint64], rows: Ints, function: Callable[[Ints], Floats]) -> Floats:
        """`function(rows)`, of rows with these ascending hashes."""
        if not len(self._hashes):
            self._hashes, self._rows, self._answers = hashes, rows, function(rows)
            return self._answers
        at = np.minimum(np.searchsorted(self._hashes, hashes), len(self._hashes) - 1)
        known = (self._rows[at] == rows).all(axis=1)
        if known.all():
            return self._answers[at]
        missing = np.flatnonzero(~known)
        found = function(rows[missing])
        out = np.empty((len(rows), found.shape[1]))
        out[known], out[missing] = self._answers[at[known]], found
        new = missing[self._hashes[at[missing]] != hashes[missing]]  # another row may have the hash: then this one stays out
        joined = np.concatenate([self._hashes, hashes[new]])
        order = np.argsort(joined, kind="stable")
        self._hashes = joined[order]
        self._rows = np.concatenate([self._rows, rows[new]])[order]
        self._answers = np.concatenate([self._answers, out[new]])[order]
        return out


class Lookup:
    """Remembers what functions of tiles returned, a cache for each kind of question."""

    def __init__(self, limit: int = 1 << 18) -> None:
        self._caches: dict[tuple[Any, ...], Cache] = {}
        self._limit = limit

    def cache(self, *question: Any) -> Cache:
        """The cache of one kind of question, emptied when it has grown past the limit."""
        found = self._caches.get(question)
        if found is None:
            found = self._caches[question] = Cache(self._limit)
        found.trim()
        return found
