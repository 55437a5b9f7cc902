"""What a backend is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from hwloop.backend.residency import Residency, resident_architecture
from hwloop.backend.target import Target
from hwloop.errors import InfeasibleMappingError
from hwloop.mapper.objective import Objective
from hwloop.mapper.result import MapResult
from hwloop.spec.architecture import Architecture
from hwloop.spec.bits import ELSEWHERE, Bits, LevelBits, frozen
from hwloop.spec.constraints import Constraints
from hwloop.spec.density import Density
from hwloop.spec.energy_table import EnergyTable
from hwloop.spec.mapping import Mapping
from hwloop.spec.plan import PlannedLayer
from hwloop.spec.problem import Problem

Outcome = MapResult | InfeasibleMappingError
OUTPUTS = "Outputs"  # the result, as workloads call it


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
    planned: PlannedLayer, target: Target, settings: MapperSettings, network: str = "", start: Sequence[Mapping] = (),
    residency: Residency | None = None,
) -> MapRequest:  # fmt: skip
    """The request that a planned layer makes of a target.

    Densities are left out where the accelerator cannot use them, so that candidates that differ in nothing else share an answer.

    Args:
        planned: the layer.
        target: the accelerator under its dataflow.
        settings: of the mapper.
        network: for people.
        start: mappings to start from.
        residency: what of its data stays at an inner level; None for nothing.

    Raises:
        InfeasibleMappingError: what stays cannot stay.
    """
    bits, problem = layer_bits(planned, target, residency), layer_problem(planned, target, residency)
    arch, constraints = target.arch, target.constraints
    if residency is not None:
        arch, constraints = resident_architecture(arch.with_constraints(constraints), problem, residency), None
    return MapRequest(problem, arch, target.table(bits), constraints, bits or None, settings, start, network, planned.name)


def layer_bits(planned: PlannedLayer, target: Target, residency: Residency | None = None) -> Bits:
    """The widths of a planned layer's values: its own in the array, and those at which maps wait where they do."""
    bits: dict[str, LevelBits] = {}
    if planned.weight_bits is not None:
        bits["Weights"] = planned.weight_bits
    if planned.activation_bits is not None:
        bits["Inputs"] = planned.activation_bits
    for space, width in planned.stored_bits:
        level = waiting_level(space, target, residency)
        bits[space] = {ELSEWHERE: bits[space], level: target.arch.level(level).word_bits if width is None else width}  # type: ignore[dict-item]
    if planned.output_bits is not None:
        bits[OUTPUTS] = {waiting_level(OUTPUTS, target, residency): planned.output_bits}
    return bits


def layer_problem(planned: PlannedLayer, target: Target, residency: Residency | None = None) -> Problem:
    """A planned layer's problem, with the density of its finished values where they wait in coded form."""
    densities = layer_densities(planned, target, residency)
    return planned.problem if densities is planned.problem.densities else replace(planned.problem, densities=densities)


def layer_densities(
    planned: PlannedLayer, target: Target, residency: Residency | None = None
) -> tuple[tuple[str, Density], ...]:  # fmt: skip
    """The densities of a planned layer that the target can use."""
    own = planned.problem.densities
    if not target.sees_zeros:
        return own if not own else ()
    if planned.output_density is None:
        return own
    level = waiting_level(OUTPUTS, target, residency)
    if not target.codes(level, OUTPUTS):
        return own
    found = dict(own) | {OUTPUTS: replace(planned.output_density, level=level)}
    order = [space.name for space in planned.problem.shape.data_spaces]
    return tuple((name, found[name]) for name in order if name in found)


def waiting_level(space: str, target: Target, residency: Residency | None) -> str:
    """Where a feature map waits: at the outermost level, unless it stays farther in."""
    return residency.level if residency is not None and space in residency.spaces else target.arch.storage[0].name


def without_densities(problem: Problem) -> Problem:
    """The same problem with no zeros in it."""
    return problem if not problem.densities else Problem(problem.shape, problem.bounds, problem.coefficients, (), problem.name)
