"""What must hold for every mapping, on random problems, accelerators, orders, bypasses, halos and strides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwloop import InfeasibleMappingError
from hwloop.simulator import BatchSimulator, LayerCost, Simulator
from hwloop.simulator.analysis import analyse
from hwloop.simulator.imperfect import analyse_imperfect
from hwloop.simulator.loops import mapping_loops
from hwloop.spec.batch import MappingBatch
from hwloop.spec.energy_table import ComponentEnergy, EnergyTable
from hwloop.spec.mapping import Loops, Mapping
from hwloop.spec.problem import DataSpace, Problem, ProblemShape

SEEDS = st.integers(0, 2**32 - 1)


def run(case: Any, **changes: Any) -> LayerCost | None:
    """The cost, None when the mapping is infeasible."""
    case = replace(case, **changes)
    try:
        return Simulator(case.problem, case.architecture, case.energy_table).run(case.mapping)
    except InfeasibleMappingError:
        return None


@settings(max_examples=80, deadline=None)
@given(SEEDS)
def test_the_closed_form_equals_the_walk(random_case: Callable[..., Any], seed: int) -> None:
    case = random_case(seed)
    compiled = Simulator(case.problem, case.architecture, case.energy_table).compiled
    loops, keep, flags = mapping_loops(compiled, case.mapping)
    try:
        expected = analyse_imperfect(compiled, loops, keep, flags)
    except InfeasibleMappingError:
        with pytest.raises(InfeasibleMappingError, match=r"the real program stops here"):
            analyse(compiled, loops, keep, flags)
        return
    found = analyse(compiled, loops, keep, flags)
    assert found.tiles == expected.tiles
    assert (found.instances, found.compute_accesses) == (expected.instances, expected.compute_accesses)


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.booleans())
def test_a_batch_gives_the_numbers_of_single_runs(random_case: Callable[..., Any], seed: int, imperfect: bool) -> None:
    case = random_case(seed, imperfect=imperfect, depth=40 if seed % 3 == 0 else 10**5)
    mappings = [case.mapping, *(random_case(seed + i, imperfect=imperfect, like=case).mapping for i in range(1, 12))]
    simulator = BatchSimulator(case.problem, case.architecture, case.energy_table)
    batch = MappingBatch.from_mappings(mappings, case.problem.shape, case.problem.bounds, case.architecture)
    found = simulator.run(batch)
    for row, mapping in enumerate(mappings):
        cost = run(case, mapping=mapping)
        assert found.feasible[row] == (cost is not None)
        if cost is None:
            assert found.cycles[row] == -1
            assert np.isinf(found.energy_pj[row])
            continue
        assert found.cycles[row] == cost.cycles
        assert found.energy_pj[row] == pytest.approx(cost.energy_pj, rel=1e-12)
        assert found.utilization[row] == pytest.approx(cost.utilization, rel=1e-12)
        for name, component in cost.components.items():
            assert found.component_energy_pj[name][row] == pytest.approx(component.energy_pj, rel=1e-12)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.floats(0.25, 8))
def test_scaling_the_energy_table_scales_energy(random_case: Callable[..., Any], seed: int, factor: float) -> None:
    case = random_case(seed)
    scaled = EnergyTable(
        tuple(ComponentEnergy(c.name, tuple((a, e * factor) for a, e in c.actions)) for c in case.energy_table.components)
    )
    before, after = run(case), run(case, energy_table=scaled)
    if before is None or after is None:
        assert before is after
        return
    assert after.energy_pj == pytest.approx(before.energy_pj * factor, rel=1e-9)
    assert after.cycles == before.cycles


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_counts_do_not_depend_on_the_names_of_dimensions(random_case: Callable[..., Any], seed: int) -> None:
    case = random_case(seed, imperfect=seed % 2 == 0)
    names = {d: f"dim{i}" for i, d in enumerate(case.problem.shape.dimensions)}
    cost = run(case)
    assert cost == run(case, problem=_renamed(case.problem, names), mapping=_renamed_mapping(case.mapping, names))


def _renamed(problem: Problem, names: dict[str, str]) -> Problem:
    shape = problem.shape
    spaces = tuple(
        DataSpace(d.name, tuple(tuple((names[t], c) for t, c in rank) for rank in d.projection), d.read_write)
        for d in shape.data_spaces
    )
    renamed = ProblemShape(shape.name, tuple(names[d] for d in shape.dimensions), shape.coefficients, spaces)
    return replace(problem, shape=renamed)


def _renamed_mapping(mapping: Mapping, names: dict[str, str]) -> Mapping:
    loops = tuple(
        Loops(x.target, x.kind, tuple((names[d], b, r) for d, b, r in x.factors), tuple(names[d] for d in x.permutation), x.split)
        for x in mapping.loops
    )
    return replace(mapping, loops=loops)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(4, 60))
def test_a_bigger_buffer_never_turns_feasible_into_infeasible(random_case: Callable[..., Any], seed: int, depth: int) -> None:
    small, big = run(random_case(seed, depth=depth)), run(random_case(seed, depth=depth * 2))
    if small is not None:
        assert big is not None
        assert big.cycles == small.cycles


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.booleans())
def test_cycles_are_never_below_what_the_units_can_do(random_case: Callable[..., Any], seed: int, imperfect: bool) -> None:
    case = random_case(seed, imperfect=imperfect)
    cost = run(case)
    if cost is not None:
        units = case.architecture.compute.instances
        assert cost.cycles >= cost.actual_computes / units
        assert 0 < cost.utilization <= 1
        assert imperfect or cost.computes == case.problem.computes
