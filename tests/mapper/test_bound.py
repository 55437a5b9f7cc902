"""The lower bound: below the optimum wherever that can be enumerated, below every mapping that is drawn, and near it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwloop.energy.estimate import estimate_energy_table
from hwloop.errors import InfeasibleMappingError
from hwloop.mapper import lower_bound, map_problem
from hwloop.mapper.bound import OPTIMAL, Bound
from hwloop.mapper.bound_search import BoundSearch, Node
from hwloop.mapper.credit import true_cost
from hwloop.mapper.factors import factor_tables
from hwloop.mapper.layout import Layout, Points
from hwloop.mapper.mapspace import build_mapspace
from hwloop.mapper.simulation import BatchSimulation
from hwloop.spec.architecture import Architecture
from hwloop.spec.energy_table import EnergyTable, load_energy_table
from hwloop.spec.problem import Problem, conv2d_shape, make_problem
from hwloop.spec.resources import open_architecture

from .conftest import DATAFLOWS, ENERGIES, exhaustive, make_dataflow

OBJECTIVES = ("energy", "cycles", "edp")


def drawn_costs(
    problem: Problem, architecture: Architecture, table: EnergyTable, n: int, seed: int, imperfect: bool
) -> np.ndarray:
    """(energy, cycles) of mappings drawn from the mapspace, orders and free keeps too, in full; those that fit."""
    simulation = BatchSimulation(problem, architecture, table, None)
    space = build_mapspace(problem, architecture)
    tables = factor_tables(space, imperfect, 3000)
    layout = Layout(space, tables, simulation.compiled)
    rng = np.random.default_rng(seed)
    keep = np.repeat((np.array(space.keep) != 0)[None], n, axis=0)
    for level, s in space.free_keeps:
        keep[:, level, s] = rng.random(n) < 0.5
    rows = np.stack([rng.integers(len(t), size=n) for t in tables], axis=1)
    orders = np.stack([rng.integers(len(o), size=n) for o in layout.orders], axis=1)
    batch = layout.batch(Points(rows, keep, orders))
    if not imperfect:
        cost = simulation.batch(batch)
        return np.stack([cost.energy_pj, cost.cycles.astype(float)], axis=1)[cost.feasible]
    out = []
    for i in range(n):
        mapping = batch.to_mapping(i, problem.shape, architecture)
        try:
            out.append(true_cost(simulation, mapping, simulation.one(mapping)))
        except InfeasibleMappingError:
            continue
    return np.array(out).reshape(-1, 2)


def least(costs: np.ndarray) -> dict[str, float]:
    return {"energy": costs[:, 0].min(), "cycles": costs[:, 1].min(), "edp": costs.prod(1).min()}


@pytest.mark.parametrize("dataflow", sorted(DATAFLOWS))
@pytest.mark.parametrize("window", [{"R": 3}, {"R": 1, "Q": 2, "Wstride": 2}])
def test_bound_against_enumeration(dataflow: str, window: dict[str, int], energies: EnergyTable) -> None:
    problem, architecture = make_problem(conv2d_shape(), {"C": 2, "M": 4, "P": 4, **window}), make_dataflow(dataflow)
    best, count = exhaustive(problem, architecture, energies)
    assert count > 50
    for objective in OBJECTIVES:
        for nodes in (1, 20):
            bound = lower_bound(problem, architecture, energies, objective=objective, nodes=nodes)
            assert 0 < bound.value <= best[objective] * (1 + 1e-9), (objective, nodes)
    sharp = lower_bound(problem, architecture, energies, objective="energy", nodes=60)
    assert sharp.value >= 0.6 * best["energy"]


CASES = st.fixed_dictionaries(
    {
        "dataflow": st.sampled_from(sorted(DATAFLOWS)),
        "depth": st.sampled_from([4, 16, 64, 256]),
        "sizes": st.fixed_dictionaries({d: st.integers(1, 8) for d in "CMPQ"} | {d: st.integers(1, 3) for d in "RS"}),
        "stride": st.sampled_from([1, 1, 2]),
        "changes": st.fixed_dictionaries(
            {},
            optional={
                "spatial": st.sampled_from(["factors: []", "permutation: [Q, R, P, S, C, M, N], split: 3"]),
                "temporal": st.just("factors: []"),
                "reg": st.sampled_from(["keep: [Weights, Inputs, Outputs]", "keep: [Inputs], bypass: [Weights, Outputs]"]),
                "glb": st.just("keep: []"),
            },
        ),
        "nodes": st.sampled_from([1, 20]),
    }
)


@pytest.mark.parametrize(("imperfect", "n"), [(False, 1500), (True, 30)])
def test_no_mapping_that_is_drawn_lies_below(imperfect: bool, n: int) -> None:
    table = load_energy_table(ENERGIES)
    seen = 0

    @settings(max_examples=12, deadline=None, derandomize=True)
    @given(case=CASES)
    def draw(case: dict[str, Any]) -> None:
        nonlocal seen
        architecture = make_dataflow(case["dataflow"], case["depth"], **case["changes"])
        stride = {"Wstride": case["stride"], "Hstride": case["stride"]}
        problem = make_problem(conv2d_shape(), {**case["sizes"], **stride})
        try:
            costs = drawn_costs(problem, architecture, table, n, 1, imperfect)
        except InfeasibleMappingError:
            return
        if len(costs):
            seen += 1
            for objective, value in least(costs).items():
                bound = lower_bound(problem, architecture, table, objective=objective, nodes=case["nodes"])
                assert bound.value <= value * (1 + 1e-9), objective

    draw()
    assert seen >= 6


class ModelOnly(BoundSearch):
    """The bound of one tiling by the model alone."""

    single: tuple[list[int], np.ndarray]

    def root(self) -> Node:
        ways, keep = self.single
        root = super().root()
        kept = tuple(tuple(int(k) for k in row) for row in keep)
        return replace(root, decided=replace(root.decided, keep=kept), rows=tuple(np.array([way]) for way in ways))

    def _exact(self, node: Node, score: object) -> None:
        return None


def below_every_order(problem: Problem, architecture: Architecture, table: EnergyTable, wanted: dict[str, list[int]]) -> int:
    """Checks tilings, 4 drawn or the one that is wanted, against all their loop orders; how many could be checked."""
    rng, space = np.random.default_rng(0), build_mapspace(problem, architecture)
    simulation = BatchSimulation(problem, architecture, table, None)
    search, checked = ModelOnly(space, simulation), 0
    dims = problem.shape.dimensions
    for _ in range(1 if wanted else 4):
        ways = []
        for part in search.parts:
            fits = np.ones(len(part), bool)
            for j, d in enumerate(part.dims):
                fits &= (part.bounds[:, j] == wanted[dims[d]]).all(1) if wanted else True
            ways.append(int(rng.choice(np.flatnonzero(fits))))
        keep = np.array(space.keep) != 0
        for level, s in space.free_keeps:
            keep[level, s] = rng.random() < 0.5
        search.single = ways, keep
        for weights in ((1.0, 0.0), (0.0, 1.0)):
            exact = search.leaves.least(ways, keep, lambda e, c, w=weights: w[0] * e + w[1] * c)
            if exact is not None and np.isfinite(exact):
                checked += 1
                assert search.run(weights, np.inf, 60) <= exact * (1 + 1e-9), (
                    weights,
                    [p.bounds[w] for p, w in zip(search.parts, ways, strict=True)],
                )
    return checked


def test_single_tilings_cost_no_less_than_the_model_says() -> None:
    table = load_energy_table(ENERGIES)
    seen = 0

    @settings(max_examples=16, deadline=None, derandomize=True)
    @given(case=CASES)
    def draw(case: dict[str, Any]) -> None:
        nonlocal seen
        architecture = make_dataflow(case["dataflow"], 4096, **case["changes"])
        stride = {"Wstride": case["stride"], "Hstride": case["stride"]}
        with suppress(InfeasibleMappingError):
            seen += below_every_order(make_problem(conv2d_shape(), {**case["sizes"], **stride}), architecture, table, {})

    draw()
    assert seen >= 20


@pytest.mark.parametrize(
    ("name", "depthwise", "sizes", "bounds"),
    [
        # a step of Q moves a window back to where S left it, and sends nothing
        ("shidiannao_like", False, {"C": 3, "M": 5, "P": 3, "Q": 5, "R": 2, "S": 2},
         {"C": [1] * 7 + [3], "M": [1, 5] + [1] * 6, "R": [2] + [1] * 7, "S": [1] * 4 + [2, 1, 1, 1], "P": [1] * 7 + [3],
          "Q": [1] * 4 + [5, 1, 1, 1]}),
        # the loop on C has a single pass left in the last one outside it, so that the inputs rest there while R runs
        ("tpu_like", True, {"C": 14, "P": 3, "Q": 10, "R": 3, "Wstride": 2, "Hstride": 2},
         {"C": [1, 2, 1, 1, 3, 3, 1], "R": [1] * 6 + [3], "P": [3] + [1] * 6, "Q": [1] * 5 + [5, 2]}),
    ],
)  # fmt: skip
def test_tilings_that_a_bound_once_lay_above(
    name: str, depthwise: bool, sizes: dict[str, int], bounds: dict[str, list[int]]
) -> None:
    architecture = open_architecture(name)
    problem = make_problem(conv2d_shape(depthwise=depthwise), sizes)
    assert below_every_order(problem, architecture, estimate_energy_table(architecture), bounds) == 2


@pytest.mark.parametrize("dataflow", sorted(DATAFLOWS))
@pytest.mark.parametrize("sizes", [{"C": 2, "M": 2, "P": 2, "R": 2}, {"C": 2, "M": 4, "P": 4, "R": 3}])
def test_small_spaces_are_exhausted(dataflow: str, sizes: dict[str, int], energies: EnergyTable) -> None:
    problem, architecture = make_problem(conv2d_shape(), sizes), make_dataflow(dataflow)
    best, _ = exhaustive(problem, architecture, energies)
    for objective in OBJECTIVES:
        found = map_problem(problem, architecture, energies, objective=objective)
        bound = lower_bound(problem, architecture, energies, objective=objective, found=found)
        assert str(bound) == f"{objective}: optimal"
        assert bound.to_dict()["optimal"]
        assert bound.value == pytest.approx(best[objective], rel=1e-6)
        worse = replace(found, cost=replace(found.cost, energy_pj=found.cost.energy_pj * 1.1, cycles=found.cost.cycles + 1))
        assert not lower_bound(problem, architecture, energies, objective=objective, found=worse).to_dict()["optimal"]


@pytest.mark.parametrize(
    "name", ["eyeriss_168_gating", "eyeriss_168_skipping", "tpu_like_compressed", "shidiannao_like_skipping"]
)
def test_sparse_mappings_lie_above(name: str) -> None:
    architecture = open_architecture(name)
    problem = make_problem(conv2d_shape(), {"C": 8, "M": 16, "P": 8, "Q": 8, "R": 3, "S": 3})
    problem = problem.with_densities({"Weights": 0.3, "Inputs": 0.5})
    table = estimate_energy_table(architecture)
    for objective in OBJECTIVES:
        found = map_problem(problem, architecture, table, objective=objective, effort="quick")
        bound = lower_bound(problem, architecture, table, objective=objective, found=found, nodes=10)
        assert 0 < bound.value <= found.value * (1 + 1e-9)


@pytest.mark.parametrize("name", ["eyeriss_168", "tpu_like", "shidiannao_like"])
def test_real_layers_come_near(name: str) -> None:
    architecture = open_architecture(name)
    table = estimate_energy_table(architecture)
    problem = make_problem(conv2d_shape(), {"C": 64, "M": 64, "P": 14, "Q": 14, "R": 3, "S": 3})
    cycles = map_problem(problem, architecture, table, objective="cycles")
    assert lower_bound(problem, architecture, table, objective="cycles", found=cycles).gap < 0.05
    energy = map_problem(problem, architecture, table, objective="energy")
    rough, sharp = (lower_bound(problem, architecture, table, objective="energy", found=energy, nodes=n) for n in (5, 80))
    assert rough.value <= sharp.value <= sharp.found * (1 + 1e-9)
    assert sharp.gap < 0.3


def test_text() -> None:
    assert str(Bound("energy", 100.0, 103.1, 5)) == "energy: within 3.1% of the best possible"
    assert str(Bound("cycles", 100.0, 100.0 * (1 + OPTIMAL / 2), 5)) == "cycles: optimal"


def test_a_function_has_no_bound(energies: EnergyTable) -> None:
    with pytest.raises(ValueError, match=r"objective: expected one of .* for a bound, found 'custom'"):
        lower_bound(make_problem(conv2d_shape(), {"C": 2}), make_dataflow("output_stationary"), energies, objective="custom")
