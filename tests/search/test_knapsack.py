from __future__ import annotations

from itertools import product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hwloop.search.knapsack import hull, sweep, totals


def tables(seed: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 6, int(rng.integers(1, 5)))
    return [rng.integers(0, 9, n).astype(float) for n in sizes], [rng.integers(0, 9, n).astype(float) for n in sizes]


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000))
def test_each_step_has_the_least_damage_of_all_combinations_that_cost_no_more(seed: int) -> None:
    costs, damages = tables(seed)
    path = sweep(costs, damages)
    every = np.array(list(product(*(range(len(cost)) for cost in costs))))
    cost, damage = totals(costs, every), totals(damages, every)
    path_cost, path_damage = totals(costs, path), totals(damages, path)
    assert (np.diff(path_cost) < 0).all()
    assert (np.diff(path_damage) > 0).all()
    assert path_damage[0] == damage.min()
    assert path_cost[-1] == cost.min()
    for c, d in zip(path_cost, path_damage, strict=True):
        assert damage[cost <= c].min() == d


def test_the_hull_leaves_out_what_lies_above_it_and_what_fits_no_mapping() -> None:
    costs, damages = np.array([10.0, 8.0, 5.0, 0.0, np.inf, 5.0]), np.array([0.0, 3.0, 2.0, 8.0, 0.0, 2.0])
    assert hull(costs, damages).tolist() == [0, 2, 3], "8 for 3 is above the line from 10 for 0 to 5 for 2"
    assert hull(np.array([4.0, 4.0, 4.0]), np.array([2.0, 1.0, 1.0])).tolist() == [1]
    assert hull(np.array([np.inf, 3.0]), np.array([0.0, 9.0])).tolist() == [1]
    assert len(hull(np.array([np.inf, np.inf]), np.array([1.0, 0.0]))) == 1, "there is always a choice"


def test_units_move_in_the_order_of_damage_for_each_cost_saved() -> None:
    costs = [np.array([4.0, 2.0, 0.0]), np.array([9.0, 0.0])]
    damages = [np.array([0.0, 1.0, 5.0]), np.array([0.0, 9.0])]
    assert sweep(costs, damages).tolist() == [[0, 0], [1, 0], [1, 1], [2, 1]]
