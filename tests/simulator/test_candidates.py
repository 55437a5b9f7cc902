"""Many candidates on a few nests cost what each costs alone."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hwloop
from hwloop import InfeasibleMappingError, SpecError
from hwloop.energy import estimate_energy_table
from hwloop.simulator import LayerCandidate, LayerNests, Simulator
from hwloop.spec.architecture import Architecture
from hwloop.spec.batch import MappingBatch
from hwloop.spec.density import Density
from hwloop.spec.energy_table import ComponentEnergy, EnergyTable
from hwloop.spec.mapping import Mapping
from hwloop.spec.problem import Problem, conv2d_shape, make_problem
from hwloop.spec.resources import open_architecture
from hwloop.spec.shipped import architecture_names
from hwloop.spec.sparsity import (
    ActionOptimization,
    ActionOption,
    RankFormat,
    RepresentationFormat,
    SparseOptimizations,
)

SEEDS = st.integers(0, 2**32 - 1)
METADATA = {
    "metadata_storage_width": 32, "metadata_storage_depth": 400, "metadata_datawidth": 8,
    "decompression_supported": True, "compression_supported": True,
}  # fmt: skip
SHIPPED = {"C": 8, "M": 16, "P": 8, "Q": 8, "R": 3, "S": 3}


def check(problem: Problem, architecture: Architecture, mappings: list[Mapping], candidates: list[LayerCandidate]) -> int:
    """Compares with each candidate on each mapping alone; says how many fit."""
    batch = MappingBatch.from_mappings(mappings, problem.shape, problem.bounds, architecture)
    found = LayerNests(problem, architecture, batch).cost(candidates)
    components = found.component_energy_pj
    fitting = 0
    for i, candidate in enumerate(candidates):
        planned = problem.with_densities({**dict(problem.densities), **candidate.densities})
        alone = Simulator(planned, architecture, candidate.energy_table, dict(candidate.bits) or None)
        for k, mapping in enumerate(mappings):
            try:
                cost = alone.run(mapping)
            except InfeasibleMappingError:
                assert not found.feasible[i, k]
                assert (found.energy_pj[i, k], found.cycles[i, k]) == (np.inf, -1)
                continue
            fitting += 1
            assert found.feasible[i, k]
            assert found.cycles[i, k] == cost.cycles
            assert found.energy_pj[i, k] == pytest.approx(cost.energy_pj, rel=1e-12)
            assert found.utilization[i, k] == pytest.approx(cost.utilization, rel=1e-12)
            for name, component in cost.components.items():
                assert components[name][i, k] == pytest.approx(component.energy_pj, rel=1e-12)
    return fitting


def draw_candidates(rng: random.Random, problem: Problem, tables: list[EnergyTable], count: int) -> list[LayerCandidate]:
    names = [d.name for d in problem.shape.data_spaces]
    out = []
    for _ in range(count):
        given: dict[str, float | Density] = {}
        for name in rng.sample(names, rng.randint(0, len(names))):
            amount = rng.choice([0.0, 0.25, 1.0, rng.uniform(0.02, 1.0)])
            given[name] = rng.choice([amount, Density("fixed_structured", amount), Density("hypergeometric", amount)])
        wide = names if rng.random() < 0.7 else rng.sample(names, rng.randint(0, len(names)))
        out.append(LayerCandidate(rng.choice(tables), given, {name: rng.choice([1, 3, 4, 8, 16, 20, 40]) for name in wide}))
    return out


def sparse_variant(rng: random.Random, problem: Problem, architecture: Architecture) -> Architecture:
    """The accelerator with a random format, a random saving and, sometimes, optimised compute units."""
    storage = [level.name for level in architecture.storage if level.kind != "spatial"]
    operands = [d.name for d in problem.shape.data_spaces if not d.read_write]
    target, leader = rng.sample(operands, 2)
    flat = (tuple(problem.shape.dimensions),)
    ranks = tuple(RankFormat("UOP", flattened_rank_ids=flat) for _ in storage)
    compressed = rng.choice(["CP", "B", "RLE"])
    formats = {
        name: (RepresentationFormat(leader, (*ranks[: len(storage) - i], RankFormat(compressed, flattened_rank_ids=flat))),)
        for i, name in enumerate(storage)
        if rng.random() < 0.6
    }
    kind = rng.choice(["gating", "skipping"] if rng.random() < 0.8 else ["skipping_spatial"])
    saving = ActionOptimization(kind, (ActionOption(rng.choice([target, problem.shape.output.name]), (leader,)),))
    chosen = rng.choice(storage)
    sparse = {
        name: SparseOptimizations(formats.get(name, ()), (saving,) if name == chosen else ()) for name in {*formats, chosen}
    }
    sparse[architecture.compute.name] = SparseOptimizations(compute=tuple(rng.sample(["gating", "skipping"], rng.randint(0, 2))))
    levels = tuple(
        replace(level, sparse=sparse.get(level.name, SparseOptimizations()), attributes=(*level.attributes, *METADATA.items()))
        for level in architecture.levels
    )
    return replace(architecture, levels=levels)


def scaled(table: EnergyTable, component: str, factor: float) -> EnergyTable:
    """A table in which one component costs more."""
    return EnergyTable(
        tuple(
            ComponentEnergy(c.name, tuple((a, e * factor) for a, e in c.actions)) if c.name == component else c
            for c in table.components
        )
    )


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.booleans(), st.booleans())
def test_candidates_on_random_designs(random_case: Callable[..., Any], seed: int, sparse: bool, imperfect: bool) -> None:
    rng = random.Random(seed)
    case = random_case(seed, imperfect=imperfect, depth=rng.choice([8, 60, 10**5]))
    mappings = [case.mapping, *(random_case(seed + i, imperfect=imperfect, like=case).mapping for i in range(1, 4))]
    architecture = sparse_variant(rng, case.problem, case.architecture) if sparse else case.architecture
    tables = [case.energy_table, scaled(case.energy_table, "mac", 0.5), scaled(case.energy_table, "DRAM", 2.0)]
    check(case.problem, architecture, mappings, draw_candidates(rng, case.problem, tables, 5))


@lru_cache
def shipped(name: str) -> tuple[Problem, Architecture, list[Mapping]]:
    """A small layer on a shipped accelerator, with mappings that are good at different densities and bits."""
    architecture = open_architecture(name)
    problem = make_problem(conv2d_shape(), SHIPPED)
    found = []
    for density, bits in ((1.0, 8), (0.2, 4)):
        table = estimate_energy_table(architecture, "shipped", {"Weights": bits, "Inputs": bits})
        planned = problem.with_densities({"Weights": density, "Inputs": 0.5})
        best = hwloop.map_problem(planned, architecture, table, effort="quick", bits={"Weights": bits, "Inputs": bits})
        found.append(best.mapping)
    return problem, architecture, found


@pytest.mark.parametrize("name", architecture_names())
def test_candidates_on_shipped_designs(name: str) -> None:
    problem, architecture, mappings = shipped(name)
    rng = random.Random(name)
    tables = {bits: estimate_energy_table(architecture, "shipped", {"Weights": bits, "Inputs": bits}) for bits in (3, 8)}
    candidates = [
        LayerCandidate(
            tables[rng.choice([3, 8])],
            {"Weights": rng.choice([1.0, rng.uniform(0.02, 1.0)]), "Inputs": rng.uniform(0.1, 1.0)},
            {"Weights": rng.choice([2, 3, 5, 8]), "Inputs": rng.choice([3, 8])},
        )
        for _ in range(10)
    ]
    assert check(problem, architecture, mappings, candidates) >= 10


def test_banded_and_other_densities_together(random_case: Callable[..., Any]) -> None:
    case = next(c for c in (random_case(seed) for seed in range(200)) if c.problem.shape.name == "matmul")
    problem = hwloop.load_problem({**case.problem.to_dict(), "instance": {"M": 4, "N": 4, "K": 4}})
    case = random_case(5, like=replace(case, problem=problem))
    architecture = sparse_variant(random.Random(3), problem, case.architecture)
    candidates = [
        LayerCandidate(case.energy_table, {"A": density, "B": 0.5})
        for density in (Density("banded", band_width=1), 0.3, Density("fixed_structured", 0.5), Density("banded", band_width=0))
    ]
    check(problem, architecture, [case.mapping], candidates)


def test_nothing_to_cost(random_case: Callable[..., Any]) -> None:
    case = random_case(3)
    batch = MappingBatch.from_mappings([case.mapping], case.problem.shape, case.problem.bounds, case.architecture)
    nests = LayerNests(case.problem, case.architecture, batch)
    assert nests.cost([]).energy_pj.shape == (0, 1)
    empty = LayerNests(case.problem, case.architecture, batch[slice(0, 0)])
    assert (len(nests), len(empty)) == (1, 0)
    assert empty.cost([LayerCandidate(case.energy_table)]).feasible.shape == (1, 0)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"densities": {"Ghost": 0.5}}, r"densities\.Ghost.*a data space among"),
        ({"densities": {"Outputs": 1.5}}, r"densities\.Outputs.*a fraction between 0 and 1"),
        ({"bits": {"Ghost": 8}}, r"Ghost.*a data space among"),
        ({"bits": {"Outputs": 0}}, r"Outputs.*a whole number of at least 1"),
    ],
)
def test_bad_candidates_are_refused(random_case: Callable[..., Any], changes: dict[str, Any], reason: str) -> None:
    case = next(c for c in (random_case(seed) for seed in range(99)) if c.problem.shape.name == "conv2D")
    batch = MappingBatch.from_mappings([case.mapping], case.problem.shape, case.problem.bounds, case.architecture)
    with pytest.raises(SpecError, match=reason):
        LayerNests(case.problem, case.architecture, batch).cost([LayerCandidate(case.energy_table, **changes)])
