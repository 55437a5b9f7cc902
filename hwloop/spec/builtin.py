"""What the Timeloop programs take for a storage whose energy table names no access at all: a line through two public figures."""

from __future__ import annotations

from math import ceil

from hwloop.spec.levels import Level

# Energy of a 16-bit access relative to a MAC: 1 at 0.5 KB, 6 at 100 KB (Eyeriss), and 200 for DRAM.
_SMALL_KB, _SMALL_PJ, _LARGE_KB, _LARGE_PJ = 0.5, 1.0, 100.0, 6.0
_DRAM_PJ, _BITS = 200.0, 16


def builtin_access_pj(level: Level) -> float:
    """Energy of one vector access of a storage [pJ], as the programs estimate it themselves."""
    row = level.word_bits * level.block_size
    if "DRAM" in level.class_name or level.values.get("technology") == "DRAM":
        return _DRAM_PJ * row / _BITS
    if not level.entries:
        return 0.0
    width, height = row * level.cluster_size, ceil(level.entries / level.block_size)
    slope = (_LARGE_PJ - _SMALL_PJ) / (_LARGE_KB - _SMALL_KB)
    pj = slope * (width * height / (8 * 1024) - _SMALL_KB) + _SMALL_PJ
    return pj * width / _BITS / level.cluster_size
