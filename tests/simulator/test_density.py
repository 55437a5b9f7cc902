"""Density models against enumeration: every way to lay out a small tensor's nonzeros."""

from __future__ import annotations

from itertools import combinations, product
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hwloop.simulator.banded import Banded
from hwloop.simulator.density import DensityModel, FixedStructured
from hwloop.simulator.hypergeometric import Hypergeometric, none_drawn


def rows(*tiles: tuple[int, ...]) -> NDArray[np.int64]:
    return np.array(tiles)


def distribution(model: DensityModel, tile: tuple[int, ...]) -> tuple[list[int], list[float]]:
    """Occupancies of one tile and their probabilities."""
    counts, probabilities = model.occupancies(rows(tile))
    return counts[0].tolist(), probabilities[0].tolist()


def empty_within(model: DensityModel, part: tuple[int, ...], tile: tuple[int, ...], counts: list[int]) -> list[float]:
    found: list[float] = model.empty_within(rows(part), rows(tile), np.array([counts]))[0].tolist()
    return found


def test_hypergeometric_against_all_layouts() -> None:
    size, nonzeros, drawn = 7, 3, 4
    layouts = list(combinations(range(size), nonzeros))
    model = Hypergeometric(nonzeros / size, size)
    assert model.nonzeros == nonzeros
    inside = [sum(i < drawn for i in layout) for layout in layouts]
    counts, probabilities = distribution(model, (drawn,))
    assert counts == sorted(set(inside))
    assert probabilities == pytest.approx([inside.count(c) / len(layouts) for c in counts], rel=1e-15)
    assert model.empty(rows((drawn,), (5,))).tolist() == [pytest.approx(inside.count(0) / len(layouts), rel=1e-15), 0.0]


def test_a_part_of_a_tile_whose_occupancy_is_known() -> None:
    tile, part = 6, 2
    model = Hypergeometric(0.5, 100)
    expected = [comb(tile - part, n) / comb(tile, n) if n <= tile - part else 0.0 for n in range(tile + 1)]
    assert empty_within(model, (part,), (tile,), list(range(tile + 1))) == pytest.approx(expected, rel=1e-15)
    assert empty_within(model, (1,), (8,), [0, 2, 8]) == [1.0, 0.75, 0.0]
    assert empty_within(model, (tile,), (tile,), [0, 1]) == [1.0, 0.0]


@pytest.mark.parametrize(
    ("tile", "part", "counts"), [(900, 3, range(200, 320)), (900, 40, range(100)), (5000, 90, [40, 41, 42, 4000])]
)
def test_parts_of_large_tiles_by_whole_numbers(tile: int, part: int, counts: list[int]) -> None:
    """Whichever way the product is formed: 1 - chance is what is used, so a chance below its last bit may be 0."""
    found = empty_within(Hypergeometric(0.5, 10**5), (part,), (tile,), [*counts, 890])
    for count, chance in zip([*counts, 890], found, strict=True):
        exact = comb(tile - part, count) / comb(tile, count) if count <= tile - part else 0.0
        assert chance == pytest.approx(exact, rel=1e-15, abs=4e-18)
        assert 1.0 - chance == pytest.approx(1.0 - exact, rel=2e-16)


@given(st.integers(1, 10**6), st.data())
def test_hypergeometric_means_are_exact(size: int, data: st.DataObject) -> None:
    nonzeros = data.draw(st.integers(0, size))
    drawn = data.draw(st.integers(1, size))
    model = Hypergeometric(nonzeros / size, size)
    counts, probabilities = distribution(model, (drawn,))
    assert sum(probabilities) == pytest.approx(1.0, rel=1e-12)
    assert np.dot(counts, probabilities) == pytest.approx(drawn * model.nonzeros / size, rel=1e-9)
    assert model.most_occupancy(rows((drawn,))).tolist() == [min(drawn, model.nonzeros)]


@given(st.lists(st.tuples(st.integers(1, 3000), st.floats(0.0, 1.0), st.floats(0.001, 1.0)), min_size=1, max_size=12))
def test_many_tensors_at_once_give_the_numbers_of_each_alone(drawn: list[tuple[int, float, float]]) -> None:
    for kind in (Hypergeometric, FixedStructured):
        models = [kind(density, size) if kind is Hypergeometric else kind(density) for size, density, _ in drawn]
        tiles = rows(*((max(1, int(size * share)),) for size, _, share in drawn))
        together = kind.together(models)
        counts, probabilities = together.occupancies(tiles)
        assert together.empty(tiles).tolist() == [m.empty(t[None])[0] for m, t in zip(models, tiles, strict=True)]
        for row, (model, tile) in enumerate(zip(models, tiles, strict=True)):
            alone = model.occupancies(tile[None])
            width = int(model.cases(tile[None])[0])
            assert counts[row, :width].tolist() == alone[0][0, :width].tolist()
            assert probabilities[row, :width].tolist() == alone[1][0, :width].tolist()
            assert not probabilities[row, width:].any()


@pytest.mark.parametrize(("total", "marked", "drawn"), [(300_000, 90_000, 40), (300_000, 3, 200_000), (5_000_000, 2_000, 3_000)])
def test_large_tensors_against_whole_numbers(total: int, marked: int, drawn: int) -> None:
    few, many = min(marked, drawn), max(marked, drawn)
    above, below = 1, 1
    for i in range(few):
        above, below = above * (total - many - i), below * (total - i)
    assert none_drawn(np.array([total]), np.array([marked]), np.array([drawn]))[0] == pytest.approx(above / below, rel=1e-15)


def test_chances_that_vanish_are_zero() -> None:
    assert none_drawn(np.array([10**8]), np.array([10**7]), np.array([10**6])).tolist() == [0.0]
    assert empty_within(Hypergeometric(0.1, 10**8), (10**6,), (10**8,), [10**7, 10**7 + 1]) == [0.0, 0.0]


def test_least_occupancy_starts_from_zero_but_for_the_whole_tensor() -> None:
    """At least 24 of 40 are nonzero, yet the real program starts from 0 there."""
    tiles = rows((8,), (40,), (64,))
    assert Hypergeometric(0.75, 64).least_occupancy(tiles, tiles[:, 0]).tolist() == [0, 0, 48]


@given(st.integers(1, 5000), st.floats(0.0, 1.0))
def test_fixed_structured_rounds_up_or_down_around_the_mean(size: int, density: float) -> None:
    model = FixedStructured(density)
    counts, probabilities = distribution(model, (size,))
    assert sum(probabilities) == pytest.approx(1.0)
    assert np.dot(counts, probabilities) == pytest.approx(size * density)
    assert counts[0] <= model.most_occupancy(rows((size,)))[0] <= counts[-1]


def test_two_of_four() -> None:
    model = FixedStructured(0.5)
    assert model.empty(rows((1,), (4,))).tolist() == [0.5, 0.0]
    assert distribution(model, (4,)) == ([2, 3], [1.0, 0.0])
    assert empty_within(model, (1,), (4,), [1, 2]) == [0.75, 0.5]
    assert model.most_elements(rows((8,), (8,)), rows((1,), (4,))).tolist() == [4, 2]


TALL = [(rows, columns) for rows, columns in product([1, 2, 4], repeat=2) if rows >= columns]  # wide ones repeat in another way


@pytest.mark.parametrize(("side", "half", "tile"), list(product([8, 12], [0, 1, 2], TALL)))
def test_banded_against_counting(side: int, half: int, tile: tuple[int, int]) -> None:
    down, across = tile
    model = Banded(half, side)
    inside = np.abs(np.subtract.outer(np.arange(side), np.arange(side))) <= half
    tiles = inside.reshape(side // down, down, side // across, across).sum(axis=(1, 3)).ravel().tolist()
    counts, probabilities = distribution(model, tile)
    assert np.dot(counts, probabilities) == pytest.approx(np.mean(tiles))
    assert model.value_density() == pytest.approx(inside.mean())
    assert model.empty(rows(tile)).tolist() == [pytest.approx(tiles.count(0) / len(tiles))]
    assert model.most_occupancy(rows(tile, tile)).tolist() == [max(tiles)] * 2


def test_banded_part_of_a_tile() -> None:
    model = Banded(0, 8)
    assert empty_within(model, (1, 1), (4, 4), [4]) == [0.75]
    assert np.isnan(empty_within(model, (1, 1), (4, 4), [3])[0])  # no tile has three
    assert np.isnan(empty_within(model, (1, 1), (3, 3), [3])[0])  # tiles do not divide the matrix
    assert model.empty(rows((16, 2))).tolist() == model.empty(rows((8, 2))).tolist()
