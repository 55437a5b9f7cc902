"""What a backend is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping as MappingABC
from collections.abc import Sequence
from dataclasses import dataclass, field

from hwloop.backend.simulators import EMBEDDED
from hwloop.errors import InfeasibleMappingError
from hwloop.mapper.result import MapResult
from hwloop.spec.architecture import Architecture
from hwloop.spec.constraints import Constraints
from hwloop.spec.energy_table import EnergyTable
from hwloop.spec.mapping import Mapping
from hwloop.spec.problem import Problem

Outcome = MapResult | InfeasibleMappingError


@dataclass(frozen=True, eq=False)
class MapRequest:
    """One question: the best mapping of a layer, and what it costs.

    Attributes:
        problem: shape, sizes and densities.
        arch: the accelerator.
        ert: its energies.
        constraints: what a mapping may do beyond what the accelerator says.
        objective: what the mapper minimises.
        bits: `{data space: bits}`.
        start: mappings to start from.
        seed: of the mapper.
        effort: how long the mapper looks.
        simulator: who costs the mapping, one of `hwloop.backend.simulators.SIMULATORS`.
        network, layer: for people; they change no answer.
    """

    problem: Problem
    arch: Architecture
    ert: EnergyTable
    constraints: Constraints | None = None
    objective: str = "edp"
    bits: MappingABC[str, int] | None = None
    start: Sequence[Mapping] | None = None
    seed: int = 0
    effort: str = "normal"
    network: str = field(default="")
    layer: str = field(default="")
    simulator: str = EMBEDDED
