"""Whole numbers of a few bits in a row of bytes, without gaps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_CHUNK = 1 << 20  # values at a time; a multiple of 8, so that every chunk ends with a byte


def pack_levels(levels: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Packs signed numbers: each as `level + 2**(bits - 1) - 1`, lowest bit first, the lowest bit of a byte first.

    Args:
        levels: whole numbers from `-(2**(bits - 1) - 1)` to `2**(bits - 1) - 1`, of any shape, row by row.
        bits: 2 to 23.

    Returns:
        `(ceil(count * bits / 8),)`.
    """
    raised = levels.astype(np.int64).ravel() + (2 ** (bits - 1) - 1)
    if raised.size and (raised.min() < 0 or raised.max() > 2**bits - 2):
        raise ValueError(f"a level does not fit into {bits} bits")
    shifts = np.arange(bits, dtype=np.int64)
    parts = [
        np.packbits(((raised[at : at + _CHUNK, None] >> shifts) & 1).astype(np.uint8), bitorder="little")
        for at in range(0, raised.size, _CHUNK)
    ]
    return np.concatenate(parts) if parts else np.zeros(0, np.uint8)


def unpack_levels(packed: NDArray[np.uint8], bits: int, count: int) -> NDArray[np.int32]:
    """The inverse of `pack_levels`, `(count,)`.

    Raises:
        ValueError: there are too few bytes.
    """
    if packed.size != -(-count * bits // 8):
        raise ValueError(f"{count} values of {bits} bits take {-(-count * bits // 8)} bytes, there are {packed.size}")
    weights = (1 << np.arange(bits, dtype=np.int64)).astype(np.int32)
    out = np.empty(count, np.int32)
    for at in range(0, count, _CHUNK):
        some = min(_CHUNK, count - at)
        block = packed[at * bits // 8 : -(-(at + some) * bits // 8)]
        ones = np.unpackbits(block, count=some * bits, bitorder="little").reshape(some, bits)
        out[at : at + some] = ones.astype(np.int32) @ weights - (2 ** (bits - 1) - 1)
    return out
