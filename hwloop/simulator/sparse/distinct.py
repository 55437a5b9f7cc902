"""Questions about tiles, asked once for each distinct tile of a batch and remembered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hwloop.simulator.density import Floats, Ints

Row = tuple[int, ...]
_MIX = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5], np.uint64)


def by_distinct(
    columns: list[Any], cache: dict[Row, tuple[float, ...]] | None, function: Callable[[Ints], Floats], single: bool
) -> list[Any]:
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
        found = None if cache is None else cache.get(row)
        if found is None:
            found = tuple(function(np.array([row]))[0].tolist())
            if cache is not None:
                cache[row] = found
        return list(found)
    spread = np.broadcast_arrays(*columns)
    shape = spread[0].shape
    mixed = np.zeros(shape, np.uint64)
    for i, column in enumerate(columns):
        mixed = (mixed ^ (mixed >> np.uint64(29))) * _MIX[i % 4] + np.asarray(column).astype(np.uint64) * _MIX[(i + 1) % 4]
    _, first, inverse = np.unique(mixed.reshape(-1), return_index=True, return_inverse=True)
    rows = np.stack([column.reshape(-1)[first] for column in spread], axis=1)
    table = function(rows) if cache is None else _remembered(rows, cache, function)
    return list(table.T[:, inverse].reshape(-1, *shape))


def _remembered(rows: Ints, cache: dict[Row, tuple[float, ...]], function: Callable[[Ints], Floats]) -> Floats:
    keys = [tuple(row) for row in rows.tolist()]
    missing = [i for i, key in enumerate(keys) if key not in cache]
    if missing:
        for i, values in zip(missing, function(rows[missing]).tolist(), strict=True):
            cache[keys[i]] = tuple(values)
    return np.array([cache[key] for key in keys])


class Lookup:
    """Remembers what functions of tiles returned, a cache for each kind of question."""

    def __init__(self, limit: int = 1 << 18) -> None:
        self._caches: dict[tuple[Any, ...], dict[Row, tuple[float, ...]]] = {}
        self._limit = limit

    def cache(self, *question: Any) -> dict[Row, tuple[float, ...]]:
        """The cache of one kind of question, emptied when it has grown past the limit."""
        found = self._caches.setdefault(question, {})
        if len(found) > self._limit:
            found.clear()
        return found
