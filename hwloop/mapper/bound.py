"""How far a mapping can be from the best possible: a proven lower bound over the whole mapspace.

The mapspace is what the constraints allow, with factors that divide and with one incomplete last pass in each dimension. What
mappings with incomplete passes cost is counted in full (`credit`). With sparse optimisations the bound holds too, but is far off:
it assumes that hardware skips whatever it could.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hwloop.mapper.bound_search import BoundSearch
from hwloop.mapper.credit import true_cost
from hwloop.mapper.mapspace import build_mapspace
from hwloop.mapper.objective import NAMES
from hwloop.mapper.result import MapResult
from hwloop.mapper.simulation import BatchSimulation
from hwloop.spec.architecture import Architecture
from hwloop.spec.bits import Bits
from hwloop.spec.constraints import Constraints
from hwloop.spec.energy_table import EnergyTable
from hwloop.spec.problem import Problem

NODES = 200  # about two seconds
OPTIMAL = 1e-6


@dataclass(frozen=True)
class Bound:
    """What no mapping of a mapspace goes below.

    Attributes:
        objective: `edp`, `energy` or `cycles`.
        value: the bound.
        found: what the mapping that was found has, every count in full; infinite without one.
        nodes: parts of the mapspace that were looked at.
        energy_pj: energy of the mapping that was found, every count in full [pJ]; likewise `cycles`.
        cycles: its time [cycles].
    """

    objective: str
    value: float
    found: float
    nodes: int
    energy_pj: float = np.inf
    cycles: float = np.inf

    @property
    def gap(self) -> float:
        """How far above the best possible the mapping can be at most, 0.05 for 5%."""
        return max(self.found / self.value - 1.0, 0.0) if self.value > 0 else np.inf

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        optimal = self.gap <= OPTIMAL
        return {"objective": self.objective, "value": self.value, "gap": self.gap, "optimal": optimal, "nodes": self.nodes}

    def __str__(self) -> str:
        if self.gap <= OPTIMAL:
            return f"{self.objective}: optimal"
        return f"{self.objective}: within {self.gap:.1%} of the best possible"


def lower_bound(
    problem: Problem, architecture: Architecture, table: EnergyTable, constraints: Constraints | None = None,
    objective: str = "edp", bits: Bits | None = None, found: MapResult | None = None, nodes: int = NODES,
) -> Bound:  # fmt: skip
    """Bounds the objective from below over every mapping that the constraints allow.

    Energy and cycles are bounded on their own. For their product, with E and C their bounds, (energy - E)(cycles - C) >= 0, so it
    is at least the least of C energy + E cycles, less E C (McCormick, Math. Programming 10, 1976).

    Args:
        problem: the layer.
        architecture: the accelerator.
        table: energies [pJ] per vector access.
        constraints: what a mapping may do, in place of the accelerator's own on the same level and kind.
        objective: `edp`, `energy` or `cycles`.
        bits: width of the values of a data space [bits].
        found: the mapping to hold against the bound; also tells when to stop.
        nodes: parts of the mapspace to look at, at most; more give a tighter bound.

    Raises:
        InfeasibleMappingError: a constraint that no loop nest can satisfy.
        ValueError: an unknown objective, or one that is a function.
    """
    if objective not in NAMES:
        raise ValueError(f"objective: expected one of {NAMES} for a bound, found {objective!r}")
    simulation = BatchSimulation(problem, architecture.with_constraints(constraints), table, bits)
    search = BoundSearch(build_mapspace(problem, architecture.with_constraints(constraints)), simulation)
    energy, cycles = (np.inf, np.inf) if found is None else true_cost(simulation, found.mapping, found.cost)
    if objective == "energy":
        return Bound(objective, search.run((1.0, 0.0), energy, nodes), energy, search.nodes, energy, cycles)
    least_cycles = float(np.ceil(search.run((0.0, 1.0), cycles, nodes if objective == "cycles" else nodes // 4)))
    if objective == "cycles":
        return Bound(objective, least_cycles, cycles, search.nodes, energy, cycles)
    least_energy = search.run((1.0, 0.0), energy, nodes // 4)
    corner = least_energy * least_cycles
    known = energy * cycles + corner if found is not None else np.inf
    both = search.run((least_cycles, least_energy), known, nodes // 2, lambda e, c: e * c + corner)
    value = max(both - corner, corner)
    return Bound(objective, value, energy * cycles, search.nodes, energy, cycles)
