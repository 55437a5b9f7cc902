from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwloop.network.export import packing
from hwloop.network.export.packing import pack_levels, unpack_levels


@given(st.integers(2, 23).flatmap(lambda bits: st.tuples(st.just(bits), st.lists(_levels(bits), max_size=50))))
def test_levels_come_back(case: tuple[int, list[int]]) -> None:
    bits, levels = case
    packed = pack_levels(np.array(levels, dtype=np.int64), bits)
    assert packed.dtype == np.uint8
    assert len(packed) == -(-len(levels) * bits // 8)  # no gaps
    assert unpack_levels(packed, bits, len(levels)).tolist() == levels


def _levels(bits: int) -> st.SearchStrategy[int]:
    most = 2 ** (bits - 1) - 1
    return st.integers(-most, most)


def test_the_order_of_bits_is_as_documented() -> None:
    # 3 bits: -3 -> 0, 0 -> 3, 1 -> 4, lowest bits first: 000 110 001 -> bytes 0b00011000 with the ninth bit behind
    assert pack_levels(np.array([-3, 0, 1]), 3).tolist() == [0b00011000, 0b1]


def test_many_values_are_packed_in_parts(monkeypatch) -> None:
    levels = np.random.default_rng(0).integers(-15, 16, 1000)
    whole = pack_levels(levels, 5)
    monkeypatch.setattr(packing, "_CHUNK", 64)
    assert pack_levels(levels, 5).tolist() == whole.tolist()
    assert unpack_levels(whole, 5, 1000).tolist() == levels.tolist()


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit into 3 bits"):
        pack_levels(np.array([4]), 3)
    with pytest.raises(ValueError, match="3 values of 5 bits take 2 bytes, there are 1"):
        unpack_levels(np.zeros(1, np.uint8), 5, 3)
