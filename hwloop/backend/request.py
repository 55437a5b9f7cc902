"""What a backend is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hwloop.backend.target import Target
from hwloop.errors import InfeasibleMappingError
from hwloop.mapper.objective import Objective
from hwloop.mapper.result import MapResult
from hwloop.spec.architecture import Architecture
from hwloop.spec.bits import Bits, frozen
from hwloop.spec.constraints import Constraints
from hwloop.spec.energy_table import EnergyTable
from hwloop.spec.mapping import Mapping
from hwloop.spec.plan import PlannedLayer
from hwloop.spec.problem import Problem

Outcome = MapResult | InfeasibleMappingError


@dataclass(frozen=True)
class MapperSettings:
    """How the mapper is asked.

    Attributes:
        objective: what it minimises: `edp`, `energy`, `cycles`, or a function as in `hwloop.map_problem`.
        effort: how long it looks: `quick`, `normal` or `thorough`.
        seed: of its draws.
    """

    objective: Objective = "edp"
    effort: str = "normal"
    seed: int = 0


@dataclass(frozen=True, eq=False)
class MapRequest:
    """One question: the best mapping of a layer, and what it costs. Who answers is the backend's to say.

    Attributes:
        problem: shape, sizes and densities.
        arch: the accelerator.
        ert: its energies at these bits.
        constraints: what a mapping may do beyond what the accelerator says.
        bits: widths of values, as in `hwloop.simulate`; None for the accelerator's own.
        settings: of the mapper.
        start: mappings to start from.
        network, layer: for people; they change no answer.
    """

    problem: Problem
    arch: Architecture
    ert: EnergyTable
    constraints: Constraints | None = None
    bits: Bits | None = None
    settings: MapperSettings = MapperSettings()
    start: Sequence[Mapping] = ()
    network: str = ""
    layer: str = ""

    @cached_property
    def question(self) -> tuple[Any, ...]:
        """Everything the answer depends on, hashable: requests with equal questions have equal answers."""
        return (self.problem, self.arch, self.ert, self.constraints, frozen(self.bits), self.settings, tuple(self.start))

    @property
    def name(self) -> str:
        """The layer's name, for messages."""
        return self.layer or self.problem.name or self.problem.shape.name


OnOutcome = Callable[[int, MapRequest, Outcome], None]


def request_for(
    planned: PlannedLayer, target: Target, settings: MapperSettings, network: str = "", start: Sequence[Mapping] = ()
) -> MapRequest:
    """The request that a planned layer makes of a target.

    Densities are left out where the accelerator cannot use them, so that candidates that differ in nothing else share an answer.
    """
    problem = planned.problem if target.sees_zeros else without_densities(planned.problem)
    bits = planned.bits
    return MapRequest(
        problem, target.arch, target.table(bits), target.constraints, bits or None, settings, start, network, planned.name
    )


def without_densities(problem: Problem) -> Problem:
    """The same problem with no zeros in it."""
    return problem if not problem.densities else Problem(problem.shape, problem.bounds, problem.coefficients, (), problem.name)
