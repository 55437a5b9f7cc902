"""Arithmetic that reads the same on Python numbers (one mapping) and on numpy arrays (a batch of mappings).

Every formula of the model stands once, in terms of these functions. Integers are exact in both forms as long as they stay
below 2**53, the bound up to which the real program's doubles are exact too.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Number = Any  # int or float for one mapping; an integer or float array `(batch,)` for many


def ceil_div(a: Number, b: Number) -> Number:
    """The least whole number >= a / b, for whole a >= 0 and b > 0."""
    return -(-a // b)


def ceil(x: Number) -> Number:
    """The least whole number >= x, as an integer."""
    if isinstance(x, np.ndarray):
        return np.ceil(x).astype(np.int64)
    return math.ceil(x)


def floor(x: Number) -> Number:
    """The greatest whole number <= x, as an integer (for x >= 0 what a C cast does)."""
    if isinstance(x, np.ndarray):
        return np.floor(x).astype(np.int64)
    return math.floor(x)


def round_half_up(x: Number) -> Number:
    """The nearest whole number of x >= 0, halves away from zero as C's `round` has it (Python and numpy round them to even)."""
    if isinstance(x, np.ndarray):
        low = np.floor(x)
        return (low + (x - low >= 0.5)).astype(np.int64)
    if isinstance(x, int):
        return x
    low = math.floor(x)
    return low + 1 if x - low >= 0.5 else low


def maximum(a: Number, b: Number) -> Number:
    """The larger of the two, element by element."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return np.maximum(a, b)
    return a if a >= b else b


def minimum(a: Number, b: Number) -> Number:
    """The smaller of the two, element by element."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return np.minimum(a, b)
    return a if a <= b else b


def where(condition: Number, a: Number, b: Number) -> Number:
    """`a` where the condition holds, else `b`; both are evaluated."""
    if isinstance(condition, np.ndarray):
        return np.where(condition, a, b)
    return a if condition else b


def as_float(x: Number) -> Number:
    """The number as a double."""
    return x.astype(np.float64) if isinstance(x, np.ndarray) else float(x)


def unsigned(x: Number) -> Number:
    """What a negative count becomes in the real program's unsigned counters: 2**64 more, to the precision of a double.

    An inner gating or skipping that saves less than an outer one already has "saves" a negative number of accesses there; the
    mapping is priced out of any search in both programs.
    """
    if isinstance(x, np.ndarray):
        return np.where(x < 0, x + 2.0**64, x) if (x < 0).any() else x
    return int(x + 2.0**64) if x < 0 else x
