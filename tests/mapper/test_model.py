"""The cost model against the simulator: equal where its docstring says so, and never the one to pick the winner alone."""

from __future__ import annotations

import numpy as np
import pytest

from hwloop.mapper.factors import factor_tables, remainders
from hwloop.mapper.layout import Layout, Points
from hwloop.mapper.mapspace import build_mapspace
from hwloop.mapper.model import CostModel
from hwloop.mapper.simulation import BatchSimulation
from hwloop.spec.energy_table import EnergyTable
from hwloop.spec.problem import conv2d_shape, make_problem

from .conftest import DATAFLOWS, make_dataflow


@pytest.mark.parametrize("dataflow", sorted(DATAFLOWS))
@pytest.mark.parametrize(("window", "within"), [({"R": 1, "S": 1}, 0.999), ({"R": 3, "S": 3}, 0.9)])
def test_model_equals_the_simulator(dataflow: str, window: dict[str, int], within: float, energies: EnergyTable) -> None:
    """Without sliding windows always; with them for nine mappings in ten."""
    problem = make_problem(conv2d_shape(), {"C": 8, "M": 12, "P": 8, "Q": 6, **window})
    architecture = make_dataflow(dataflow, 512)
    simulation = BatchSimulation(problem, architecture, energies, None)
    space = build_mapspace(problem, architecture)
    tables = factor_tables(space, False, 100)
    model = CostModel(space, tables, simulation.compiled, simulation.prices)
    layout = Layout(space, tables, simulation.compiled)
    rng = np.random.default_rng(1)
    rows = np.stack([rng.integers(len(t), size=400) for t in tables], axis=1)
    keep = np.array(space.keep) == 1
    estimate = model.evaluate(rows, keep)
    orders = np.zeros((len(rows), model.n_levels), np.int64)
    for level, choice in estimate.orders.items():
        orders[:, level] = choice
    cost = simulation.batch(layout.batch(Points(rows, np.repeat(keep[None], len(rows), axis=0), orders)))
    fits = estimate.overflow <= 1
    assert fits.sum() > 50
    assert np.array_equal(fits, cost.feasible)
    close = np.isclose(estimate.energy_pj[fits], cost.energy_pj[fits], rtol=2e-3)
    assert close.mean() >= within
    assert np.isclose(estimate.cycles[fits], cost.cycles[fits], rtol=2e-3).mean() >= within


def test_mappings_come_back_as_points(energies: EnergyTable) -> None:
    problem, architecture = make_problem(conv2d_shape(), {"C": 8, "M": 12, "P": 8}), make_dataflow("output_stationary", 512)
    simulation = BatchSimulation(problem, architecture, energies, None)
    space = build_mapspace(problem, architecture)
    tables = factor_tables(space, True, 100)
    layout = Layout(space, tables, simulation.compiled)
    rng = np.random.default_rng(2)
    rows = np.stack([rng.integers(len(t), size=50) for t in tables], axis=1)
    keep = np.repeat((np.array(space.keep) == 1)[None], len(rows), axis=0)
    points = Points(rows, keep, np.zeros((len(rows), len(simulation.compiled.levels)), np.int64))
    back, known = layout.points(layout.batch(points))
    assert known.all()
    assert np.array_equal(back.rows, rows)


@pytest.mark.parametrize("size", [7, 13, 61, 115])
def test_remainders_cover_the_dimension(size: int) -> None:
    """The fold of bounds and remainders that Timeloop 3 checks: ((r3 - 1) b2 + r2 - 1) b1 + r1 = size."""
    rng = np.random.default_rng(size)
    bounds = np.empty((200, 3), np.int64)
    left = np.full(200, size)
    for slot in range(2):
        bounds[:, slot] = rng.integers(1, left + 1)
        left = -(-left // bounds[:, slot])
    bounds[:, 2] = left
    rest = remainders(bounds, size)
    covered = np.zeros(200, np.int64)
    for slot in (2, 1, 0):
        covered = covered * bounds[:, slot] + rest[:, slot] - 1
    assert (covered + 1 == size).all()
    assert (rest <= bounds).all()
