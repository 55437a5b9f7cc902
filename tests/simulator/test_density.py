"""Density models against enumeration: every way to lay out a small tensor's nonzeros."""

from __future__ import annotations

from itertools import combinations, product
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwloop import InfeasibleMappingError
from hwloop.simulator.banded import Banded
from hwloop.simulator.density import FixedStructured
from hwloop.simulator.hypergeometric import Hypergeometric, none_drawn


def test_hypergeometric_against_all_layouts() -> None:
    size, nonzeros, drawn = 7, 3, 4
    layouts = list(combinations(range(size), nonzeros))
    model = Hypergeometric(nonzeros / size, size)
    assert model.nonzeros == nonzeros
    inside = [sum(i < drawn for i in layout) for layout in layouts]
    counts, probabilities = model.occupancies((drawn,))
    assert counts.tolist() == sorted(set(inside))
    assert probabilities.tolist() == pytest.approx([inside.count(c) / len(layouts) for c in counts], rel=1e-15)
    assert model.empty((drawn,)) == pytest.approx(inside.count(0) / len(layouts), rel=1e-15)
    assert model.empty((5,)) == 0.0


def test_a_part_of_a_tile_whose_occupancy_is_known() -> None:
    tile, part = 6, 2
    model = Hypergeometric(0.5, 100)
    found = model.empty_within((part,), (tile,), np.arange(tile + 1))
    expected = [comb(tile - part, n) / comb(tile, n) if n <= tile - part else 0.0 for n in range(tile + 1)]
    assert found.tolist() == pytest.approx(expected, rel=1e-15)
    assert model.empty_within((1,), (8,), np.array([0, 2, 8])).tolist() == [1.0, 0.75, 0.0]
    assert model.empty_within((tile,), (tile,), np.array([0, 1])).tolist() == [1.0, 0.0]


@given(st.integers(1, 10**6), st.data())
def test_hypergeometric_means_are_exact(size: int, data: st.DataObject) -> None:
    nonzeros = data.draw(st.integers(0, size))
    drawn = data.draw(st.integers(1, size))
    model = Hypergeometric(nonzeros / size, size)
    counts, probabilities = model.occupancies((drawn,))
    assert probabilities.sum() == pytest.approx(1.0, rel=1e-12)
    assert counts @ probabilities == pytest.approx(drawn * model.nonzeros / size, rel=1e-9)
    assert model.most_occupancy((drawn,)) == min(drawn, model.nonzeros) == model.fullest(np.array([[drawn]]))[0]


@pytest.mark.parametrize(("total", "marked", "drawn"), [(300_000, 90_000, 40), (300_000, 3, 200_000), (5_000_000, 2_000, 3_000)])
def test_large_tensors_against_whole_numbers(total: int, marked: int, drawn: int) -> None:
    few, many = min(marked, drawn), max(marked, drawn)
    above, below = 1, 1
    for i in range(few):
        above, below = above * (total - many - i), below * (total - i)
    assert none_drawn(total, marked, drawn) == pytest.approx(above / below, rel=1e-15)


def test_chances_that_vanish_are_zero() -> None:
    assert none_drawn(10**8, 10**7, 10**6) == 0.0
    assert Hypergeometric(0.1, 10**8).empty_within((10**6,), (10**8,), np.array([10**7, 10**7 + 1])).tolist() == [0.0, 0.0]


def test_least_occupancy_starts_from_zero_but_for_the_whole_tensor() -> None:
    model = Hypergeometric(0.75, 64)
    assert model.least_occupancy((8,), 8) == 0
    assert model.least_occupancy((40,), 40) == 0  # at least 24 of 40 are nonzero, yet the real program starts from 0
    assert model.least_occupancy((64,), 64) == 48


@given(st.integers(1, 5000), st.floats(0.0, 1.0))
def test_fixed_structured_rounds_up_or_down_around_the_mean(size: int, density: float) -> None:
    model = FixedStructured(density)
    counts, probabilities = model.occupancies((size,))
    assert len(counts) <= 2
    assert probabilities.sum() == pytest.approx(1.0)
    assert counts @ probabilities == pytest.approx(size * density)
    assert model.most_occupancy((size,)) == model.fullest(np.array([[size]]))[0]
    assert counts[0] <= model.most_occupancy((size,)) <= counts[-1]


def test_two_of_four() -> None:
    model = FixedStructured(0.5)
    assert model.empty((1,)) == 0.5
    assert model.empty((4,)) == 0.0
    assert model.occupancies((4,))[0].tolist() == [2]
    assert model.empty_within((1,), (4,), np.array([1, 2])).tolist() == [0.75, 0.5]
    assert model.most_elements((8,), (1,)) == 4
    assert model.most_elements((8,), (4,)) == 2


TALL = [(rows, columns) for rows, columns in product([1, 2, 4], repeat=2) if rows >= columns]  # wide ones repeat in another way


@pytest.mark.parametrize(("side", "half", "tile"), list(product([8, 12], [0, 1, 2], TALL)))
def test_banded_against_counting(side: int, half: int, tile: tuple[int, int]) -> None:
    rows, columns = tile
    model = Banded(half, side)
    inside = np.abs(np.subtract.outer(np.arange(side), np.arange(side))) <= half
    tiles = inside.reshape(side // rows, rows, side // columns, columns).sum(axis=(1, 3)).ravel().tolist()
    counts, probabilities = model.occupancies((rows, columns))
    assert counts @ probabilities == pytest.approx(np.mean(tiles))
    assert model.value_density() == pytest.approx(inside.mean())
    assert model.empty((rows, columns)) == pytest.approx(tiles.count(0) / len(tiles))
    assert model.most_occupancy((rows, columns)) == max(tiles)
    assert model.fullest(np.array([[rows, rows], [columns, columns]])).tolist() == [max(tiles)] * 2


def test_banded_part_of_a_tile() -> None:
    model = Banded(0, 8)
    assert model.empty_within((1, 1), (4, 4), np.array([4])).tolist() == [0.75]
    with pytest.raises(InfeasibleMappingError, match=r"no tile of 4 x 4 has 3 nonzeros"):
        model.empty_within((1, 1), (4, 4), np.array([3]))
    with pytest.raises(InfeasibleMappingError, match=r"tiles of 3 x 3 do not divide a matrix of 8"):
        model.empty_within((1, 1), (3, 3), np.array([3]))
