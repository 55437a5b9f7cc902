"""Three small dataflows, their energies, and an exhaustive search to compare with."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hwloop.mapper.check import check
from hwloop.mapper.factors import divisors
from hwloop.simulator.batch import BatchSimulator
from hwloop.spec.architecture import Architecture, load_architecture
from hwloop.spec.batch import MappingBatch
from hwloop.spec.energy_table import EnergyTable, load_energy_table
from hwloop.spec.mapping import Bypass, Loops, Mapping
from hwloop.spec.problem import Problem

ARCHITECTURE = """
architecture:
  version: 0.4
  nodes:
  - !Container {{name: system, attributes: {{technology: '"45nm"', global_cycle_seconds: 1e-9}}}}
  - !Component
    name: DRAM
    class: DRAM
    attributes: {{width: 64, datawidth: 16}}
    constraints: {{dataspace: {{keep: [Weights, Inputs, Outputs], bypass: []}}}}
  - !Component
    name: glb
    class: SRAM
    attributes: {{depth: {depth}, width: 64, datawidth: 16, read_bandwidth: 4, write_bandwidth: 4}}
    constraints: {{dataspace: {{{glb}}}}}
  - !Container
    name: PE
    spatial: {{meshX: 4, meshY: 4}}
    constraints: {{spatial: {{{spatial}}}}}
  - !Component
    name: reg
    class: SRAM
    attributes: {{depth: 8, width: 16, datawidth: 16}}
    constraints: {{dataspace: {{{reg}}}, temporal: {{{temporal}}}}}
  - !Component
    name: mac
    class: intmac
    attributes: {{multiplier_width: 16, adder_width: 16, width: 16, datawidth: 16}}
"""
DATAFLOWS = {
    "weight_stationary": {
        "glb": "keep: [Inputs, Outputs], bypass: [Weights]",
        "spatial": "permutation: [C, N, P, Q, R, S, M], factors: [N=1, P=1, Q=1, R=1, S=1], split: 6",
        "reg": "keep: [Weights], bypass: [Inputs, Outputs]",
        "temporal": "permutation: [P, Q, N, R, S, C, M], factors: [C=1, M=1]",
    },
    "output_stationary": {
        "glb": "keep: [Weights, Inputs, Outputs], bypass: []",
        "spatial": "permutation: [P, N, C, R, S, M, Q], factors: [N=1, C=1, R=1, S=1, M=1], split: 6",
        "reg": "keep: [Outputs], bypass: [Weights, Inputs]",
        "temporal": "permutation: [R, S, C, N, P, Q, M], factors: [N=1]",
    },
    "row_stationary": {
        "glb": "keep: [Inputs, Outputs], bypass: [Weights]",
        "spatial": "permutation: [Q, N, P, R, C, M, S], factors: [N=1, P=1, R=1, C=1], split: 5",
        "reg": "keep: [Weights], bypass: [Inputs, Outputs]",
        "temporal": "permutation: [R, N, P, Q, S, C, M], factors: [N=1, P=1, Q=1, S=1, M=1]",
    },
}
ENERGIES = {
    "DRAM": {"read": 200.0, "write": 200.0, "update": 200.0},
    "glb": {"read": 12.0, "write": 11.0, "update": 11.0, "leak": 0.01},
    "reg": {"read": 0.5, "write": 0.4, "update": 0.4},
    "mac": {"compute": 1.0},
}


def make_dataflow(name: str, depth: int = 16, bandwidth: int = 4, **changes: str) -> Architecture:
    """A small accelerator of one dataflow; `changes` replace the constraints of a place."""
    return load_architecture(ARCHITECTURE.format(depth=depth, bandwidth=bandwidth, **{**DATAFLOWS[name], **changes}))


@pytest.fixture(scope="session")
def energies() -> EnergyTable:
    return load_energy_table(ENERGIES)


def exhaustive(problem: Problem, architecture: Architecture, table: EnergyTable) -> tuple[dict[str, float], int]:
    """The least of each objective over all perfect factors and orders of the loops of more than one pass, and their number.

    Written apart from the mapper: mappings are built one by one and filtered by `check`.
    """
    dims = problem.shape.dimensions
    places = []
    for i, level in enumerate(architecture.storage):
        if level.kind == "spatial" or architecture.fanout[i] != (1, 1):
            places.append((level.name, "spatial"))
        if level.kind != "spatial":
            places.append((level.name, "temporal"))
    ways = [
        [f for f in itertools.product(divisors(n), repeat=len(places)) if np.prod(f) == n] if n > 1 else [(1,) * len(places)]
        for n in problem.bounds
    ]
    mappings = []
    for choice in itertools.product(*ways):
        mappings += _orders(problem, architecture, places, dict(zip(dims, choice, strict=True)))
    batch = MappingBatch.from_mappings(mappings, problem.shape, problem.bounds, architecture)
    cost = BatchSimulator(problem, architecture, table).run(batch)
    feasible = cost.feasible
    energy, cycles = cost.energy_pj[feasible], cost.cycles[feasible]
    return {"edp": float((energy * cycles).min()), "energy": float(energy.min()), "cycles": float(cycles.min())}, len(mappings)


def _orders(
    problem: Problem, architecture: Architecture, places: list[tuple[str, str]], factors: dict[str, tuple[int, ...]]
) -> list[Mapping]:
    per_place = []
    for k, (level, kind) in enumerate(places):
        bounds = tuple((d, f[k], f[k]) for d, f in factors.items())
        used = [d for d, bound, _ in bounds if bound > 1]
        rest = [d for d in factors if d not in used]
        if kind == "temporal":
            options = [Loops(level, kind, bounds, (*rest, *order)) for order in itertools.permutations(used)]
        else:
            options = [
                Loops(level, kind, bounds, (*rest, *used[:at], *used[at:]), len(rest) + at) for at in range(len(used) + 1)
            ] + [Loops(level, kind, bounds, (*rest, *reversed(used)), len(rest) + at) for at in range(1, len(used))]
        per_place.append(options)
    spaces = [s.name for s in problem.shape.data_spaces]
    keeps = []
    for level in architecture.storage:
        constraint = architecture.constraints.data_space(level.name)
        kept = tuple(s for s in spaces if level.kind != "spatial" and (constraint is None or s not in constraint.bypass))
        keeps.append(Bypass(level.name, kept, tuple(s for s in spaces if s not in kept)))
    first = [Mapping(tuple(options), tuple(keeps)) for options in itertools.product(*per_place)]
    return [m for m in first if not check(m, problem, architecture)]
