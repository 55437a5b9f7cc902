"""Logarithms of factorials for array arguments, to the precision of a long double."""

from __future__ import annotations

from typing import Any

import numpy as np

_TABLE_SIZE = 2048
_TABLE = np.concatenate([[np.longdouble(0)], np.cumsum(np.log(np.arange(1, _TABLE_SIZE, dtype=np.longdouble)))])
_HALF_LOG_2PI = np.log(2 * np.longdouble(np.pi)) / 2


def log_factorial(n: Any) -> Any:
    """ln(n!) for whole numbers n >= 0; a table, and Stirling's series where it is exact to the last bit.

    Args:
        n: an int or an integer array.

    Returns:
        long double(s) of the same shape.
    """
    if isinstance(n, (int, np.integer)):
        if n < _TABLE_SIZE:
            return _TABLE[n]
        return _stirling(np.longdouble(n))
    small = n < _TABLE_SIZE
    if small.all():
        return _TABLE[n]
    out = _stirling(np.maximum(n, _TABLE_SIZE).astype(np.longdouble))
    return np.where(small, _TABLE[np.where(small, n, 0)], out)


def _stirling(n: Any) -> Any:
    inverse = 1 / n
    square = inverse * inverse
    series = inverse * (np.longdouble(1) / 12 - square * (np.longdouble(1) / 360 - square * (np.longdouble(1) / 1260)))
    return (n + 0.5) * np.log(n) - n + _HALF_LOG_2PI + series
