"""Batches: masks instead of errors, grouping by what is kept, order of loops, and what falls back to single runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import hwloop
from hwloop.simulator import BatchCost, BatchSimulator, Simulator, simulate_batch
from hwloop.simulator.batch_loops import space_table
from hwloop.simulator.batch_space import Children, spread_rows
from hwloop.spec.batch import SPATIAL_X, TEMPORAL, MappingBatch


@pytest.fixture
def case(random_case: Callable[..., Any]) -> Any:
    return random_case(11)


def batch_of(case: Any, count: int = 1) -> MappingBatch:
    problem = case.problem
    return MappingBatch.from_mappings([case.mapping] * count, problem.shape, problem.bounds, case.architecture)


def test_an_infeasible_mapping_is_masked_and_spoils_no_other(case: Any) -> None:
    batch = batch_of(case, 3)
    factors = batch.factors.copy()
    factors[1, 0, TEMPORAL, 0] += 1
    cost = simulate_batch(case.problem, case.architecture, replace(batch, factors=factors), case.energy_table)
    assert cost.feasible.tolist() == [True, False, True]
    assert cost.energy_pj[0] == cost.energy_pj[2] < cost.energy_pj[1] == np.inf
    assert cost.cycles[1] == -1
    assert cost.edp[1] == np.inf
    assert cost.edp[0] == cost.energy_pj[0] * cost.cycles[0]


def test_an_empty_batch_gives_an_empty_cost(case: Any) -> None:
    cost = simulate_batch(case.problem, case.architecture, batch_of(case)[slice(0, 0)], case.energy_table)
    assert isinstance(cost, BatchCost)
    assert len(cost) == 0


def test_spatial_loops_need_a_fan_out(case: Any) -> None:
    batch = batch_of(case)
    factors = batch.factors.copy()
    at = next(i for i, fan in enumerate(case.architecture.fanout) if fan == (1, 1))
    level, d = np.argwhere(factors[0, :, TEMPORAL] > 1)[0]
    factors[0, at, SPATIAL_X, d], factors[0, level, TEMPORAL, d] = factors[0, level, TEMPORAL, d], 1
    cost = simulate_batch(case.problem, case.architecture, replace(batch, factors=factors), case.energy_table)
    assert factors[0, at, SPATIAL_X, d] > 1
    assert not cost.feasible[0]


def test_mappings_with_different_keeps_run_together(random_case: Callable[..., Any]) -> None:
    base = random_case(3)
    mappings = [random_case(seed, like=base).mapping for seed in range(40)]
    batch = MappingBatch.from_mappings(mappings, base.problem.shape, base.problem.bounds, base.architecture)
    assert len(np.unique(batch.keep.reshape(len(batch), -1), axis=0)) > 1
    together = BatchSimulator(base.problem, base.architecture, base.energy_table).run(batch)
    for row in range(len(batch)):
        alone = simulate_batch(base.problem, base.architecture, batch[slice(row, row + 1)], base.energy_table)
        assert together.energy_pj[row] == alone.energy_pj[0]
        assert together.cycles[row] == alone.cycles[0]


def test_nothing_kept_anywhere_is_infeasible(case: Any) -> None:
    batch = batch_of(case)
    cost = simulate_batch(case.problem, case.architecture, replace(batch, keep=np.zeros_like(batch.keep)), case.energy_table)
    assert not cost.feasible.any()


def test_capacity_and_mesh_are_checked(random_case: Callable[..., Any]) -> None:
    outcomes = set()
    for seed in range(60):
        case = random_case(seed, depth=8)
        batch = batch_of(case)
        cost = simulate_batch(case.problem, case.architecture, batch, case.energy_table)
        try:
            Simulator(case.problem, case.architecture, case.energy_table).run(case.mapping)
            expected = True
        except hwloop.InfeasibleMappingError:
            expected = False
        outcomes.add(expected)
        assert cost.feasible[0] == expected
    assert outcomes == {True, False}


def test_positions_too_large_for_an_integer_fall_back_to_single_runs(case: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    simulator = BatchSimulator(case.problem, case.architecture, case.energy_table)
    expected = simulator.run(batch_of(case))
    monkeypatch.setattr(simulator.analysis, "tables", [replace(t, exact=False) for t in simulator.analysis.tables])
    assert not simulator.analysis.exact
    found = simulator.run(batch_of(case))
    assert found.energy_pj[0] == pytest.approx(expected.energy_pj[0], rel=1e-12)
    space = simulator.compiled.spaces[1]
    assert space_table(space, case.problem.bounds).exact
    assert not space_table(space, (2**40,) * len(case.problem.bounds)).exact


def test_bits_act_on_batches_too(random_case: Callable[..., Any]) -> None:
    case = random_case(5)
    bits = {case.problem.shape.data_spaces[0].name: 4}
    cost = simulate_batch(case.problem, case.architecture, batch_of(case), case.energy_table, bits)
    single = Simulator(case.problem, case.architecture, case.energy_table, bits).run(case.mapping)
    assert cost.energy_pj[0] == pytest.approx(single.energy_pj, rel=1e-12)


def test_diagonals_share_and_neighbours_hand_on() -> None:
    # Three by three children at offsets p + r, and four in a row whose tiles of one word move by one.
    three = Children(
        bounds=np.array([[[3]], [[3]]]), codes=np.array([[[1]], [[1]]]), width=np.array([3]), height=np.array([3]),
        full=np.array([1]), active=np.zeros((0, 1), np.bool_), sizes=np.zeros((0, 1), np.int64),
        moves=np.zeros((0, 1), np.int64), weights=np.zeros((0, 1), np.int64), passes=np.zeros((0, 1), np.int64),
    )  # fmt: skip
    assert (spread_rows(three).sent[0], spread_rows(three).weighted[0]) == (5, 9)
    row = Children(
        bounds=np.array([[[4]], [[1]]]), codes=np.array([[[1]], [[0]]]), width=np.array([4]), height=np.array([1]),
        full=np.array([1]), active=np.array([[True]]), sizes=np.array([[1]]), moves=np.array([[1]]),
        weights=np.array([[2]]), passes=np.array([[3]]),
    )  # fmt: skip
    found = spread_rows(row)
    assert (found.sent[0], found.links[0], found.arrive[0]) == (4 + 2, 6, 6 / 4)
