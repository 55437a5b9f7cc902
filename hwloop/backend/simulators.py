"""One interface over the simulators: whoever costs a mapping asks a `Simulator` and need not know which one answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from hwloop.backend.timeloop.programs import Timeloop
from hwloop.errors import SpecError
from hwloop.simulator import LayerCost, simulate
from hwloop.spec.constraints import Constraints
from hwloop.spec.energy_table import EnergyTable
from hwloop.spec.levels import Architecture
from hwloop.spec.mapping import Mapping as LoopMapping
from hwloop.spec.problem import Problem

EMBEDDED, TIMELOOP, TIMELOOP_MAPPER = "embedded", "timeloop", "timeloop-mapper"
SIMULATORS = {
    EMBEDDED: "hwloop's own",
    TIMELOOP: "the real timeloop-model costs the mappings that hwloop's mapper finds",
    TIMELOOP_MAPPER: "the real timeloop-mapper finds the mappings, timeloop-model costs them",
}


class Simulator(Protocol):
    """Costs one mapping."""

    @property
    def name(self) -> str:
        """One of `SIMULATORS`."""
        ...

    @property
    def version(self) -> str:
        """Identifies the program."""
        ...

    def simulate(
        self,
        problem: Problem,
        architecture: Architecture,
        mapping: LoopMapping,
        table: EnergyTable,
        bits: Mapping[str, int] | None = None,
    ) -> LayerCost:
        """The cost of one layer under one mapping; arguments as `hwloop.simulate`.

        Raises:
            InfeasibleMappingError: the accelerator cannot run the mapping.
            SimulatorError: an outside program failed.
        """
        ...


@dataclass(frozen=True)
class Embedded:
    """hwloop's own simulator. Its version is in every memo key already, so it has none here."""

    name: str = EMBEDDED
    version: str = ""

    def simulate(
        self,
        problem: Problem,
        architecture: Architecture,
        mapping: LoopMapping,
        table: EnergyTable,
        bits: Mapping[str, int] | None = None,
    ) -> LayerCost:
        """The cost of one layer under one mapping; see `hwloop.simulate`."""
        return simulate(problem, architecture, mapping, table, bits)


def find_simulator(name: str, timeout_s: float = 600.0) -> Simulator:
    """The simulator called `name`.

    Args:
        name: one of `SIMULATORS`.
        timeout_s: longest time for one run of an outside program [s].

    Raises:
        SpecError: there is no such simulator.
        SimulatorError: its program is not on PATH; the message says what to install.
    """
    if name == EMBEDDED:
        return Embedded()
    if name in (TIMELOOP, TIMELOOP_MAPPER):
        return Timeloop.find(timeout_s)
    raise SpecError("<arguments>", "simulator", f"one of {', '.join(SIMULATORS)}", name)


def map_with_timeloop(
    problem: Problem,
    architecture: Architecture,
    table: EnergyTable,
    constraints: Constraints | None = None,
    objective: str = "edp",
    bits: Mapping[str, int] | None = None,
    timeout_s: float = 600.0,
) -> tuple[LoopMapping, LayerCost]:
    """A mapping found by `timeloop-mapper`, costed by `timeloop-model`.

    The mapper looks at the accelerator's own word widths; with `bits` only the cost is that of mixed precision, so a mapping
    that fits wide words is found where a tighter one would do.

    Raises:
        InfeasibleMappingError: it found no valid mapping, or mixed precision does not fit it.
        SimulatorError: a program is missing, crashed or timed out.
    """
    timeloop = Timeloop.find(timeout_s)
    mapping, cost = timeloop.map_problem(problem, architecture, table, constraints, objective)
    return mapping, timeloop.simulate(problem, architecture, mapping, table, bits) if bits else cost
