from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hwloop.pareto import hypervolume, knee, non_dominated, preferred

POINTS = st.integers(2, 4).flatmap(
    lambda m: arrays(np.int64, st.tuples(st.integers(1, 12), st.just(m)), elements=st.integers(0, 6))
)


def by_definition(points: np.ndarray) -> np.ndarray:
    return np.array([not any((q <= p).all() and (q < p).any() for q in points) for p in points])


@settings(deadline=None, max_examples=100)
@given(POINTS)
def test_mask_is_the_definition(points: np.ndarray) -> None:
    assert np.array_equal(non_dominated(points), by_definition(points))


def test_equal_points_stay_and_nan_never_does() -> None:
    mask = non_dominated([[1.0, 2.0], [1.0, 2.0], [np.nan, 0.0], [2.0, 2.0]])
    assert mask.tolist() == [True, True, False, False]


@settings(deadline=None, max_examples=60)
@given(POINTS)
def test_hypervolume_counts_unit_cells(points: np.ndarray) -> None:
    """On whole numbers the volume is the number of unit cells whose lower corner some point dominates."""
    ref = 5
    cells = np.stack(np.meshgrid(*[np.arange(ref)] * points.shape[1], indexing="ij"), -1).reshape(-1, points.shape[1])
    covered = sum(bool((points <= cell).all(axis=1).any()) for cell in cells)
    assert hypervolume(points, [ref] * points.shape[1]) == pytest.approx(covered)


def test_hypervolume_of_known_fronts() -> None:
    assert hypervolume([[1, 3], [2, 1]], [4, 4]) == pytest.approx(3 + 2 * 2)
    assert hypervolume([], [1, 1]) == 0.0
    assert hypervolume([[5, 5]], [4, 4]) == 0.0
    assert hypervolume([[2.0]], [5.0]) == 3.0


def test_hypervolume_refuses_what_it_cannot_do() -> None:
    with pytest.raises(ValueError, match="up to 4 objectives"):
        hypervolume(np.zeros((1, 5)), np.ones(5))
    with pytest.raises(ValueError, match="reference point has 3"):
        hypervolume(np.zeros((1, 2)), np.ones(3))


def test_knee_is_farthest_below_the_line_between_the_extremes() -> None:
    front = np.array([[0.0, 10.0], [1.0, 2.0], [5.0, 1.0], [10.0, 0.0]])
    assert knee(front) == 1
    assert knee(front * [1e6, 1e-3]) == 1
    assert knee([[3.0, 3.0]]) == 0
    with pytest.raises(ValueError, match="no points"):
        knee(np.zeros((0, 2)))


def test_weights_prefer_the_point_that_is_near_the_best_where_they_are_large() -> None:
    front = np.array([[0.0, 10.0], [4.0, 5.0], [6.0, 4.5], [10.0, 0.0]])  # the second and third lie above the line
    assert preferred(front, (1, 1)) == 1
    assert preferred(front * [1e6, 1e-3], (1, 1)) == 1, "whatever the units"
    assert preferred(front, (100, 1)) == 0
    assert preferred(front, (1, 100)) == 3
    assert preferred(front, (1, 0)) == 0
    assert preferred([[3.0, 3.0]], (1, 2)) == 0
    for weights in ((1, 2, 3), (-1, 2), (0, 0)):
        with pytest.raises(ValueError, match="expected 2 weights of 0 or more, one of them above"):
            preferred(front, weights)
    with pytest.raises(ValueError, match="no points"):
        preferred(np.zeros((0, 2)), (1, 1))
