"""What `timeloop-model` is to be asked about a layer under a known mapping, written down without the program.

Most layers take one question. Two are needed where a result waits in a width or with a density of its own, which the program does
not know (see `waiting`): then the level where it waits is read from one answer and everything else from the other. How bandwidth
is shared out among split levels, and whether partial sums arrive there, follows from the embedded simulator's counts, which are
the program's own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from hwloop.backend.timeloop.inputs import model_input
from hwloop.backend.timeloop.split import SplitSystem, share_bandwidth, split_levels
from hwloop.backend.timeloop.waiting import Waiting, find_waiting, refuse_coded_sums
from hwloop.simulator import LayerCost, simulate
from hwloop.spec.batch import MappingBatch
from hwloop.spec.bits import Bits
from hwloop.spec.constraints import Constraints
from hwloop.spec.energy_table import EnergyTable
from hwloop.spec.levels import Architecture
from hwloop.spec.mapping import Mapping
from hwloop.spec.problem import Problem


@dataclass(frozen=True)
class Question:
    """One run of the program.

    Attributes:
        name: `all` where its answer is the layer's; else `finished` (the result at the width of finished values) and `partial`
            (at the width of partial sums).
        document: everything it reads.
        architecture, problem: as the program sees them, to read its answer with.
        energy_pj: what it will say, by the embedded simulator [pJ].
        cycles: likewise.
    """

    name: str
    document: dict[str, Any]
    architecture: Architecture
    problem: Problem
    energy_pj: float
    cycles: int


def questions(
    problem: Problem, architecture: Architecture, mapping: Mapping, table: EnergyTable, bits: Bits
) -> tuple[Question, ...]:
    """The runs that cost a layer; arguments as `hwloop.simulate`.

    Raises:
        InfeasibleMappingError: the accelerator cannot run the mapping.
        SimulatorError: the program can say it in no way: partial sums lie in a format beside finished values of another width.
    """
    batch = MappingBatch.from_mappings([mapping], problem.shape, problem.bounds, architecture)
    whole = batch.to_mapping(0, problem.shape, architecture)
    waiting = find_waiting(problem, architecture, whole, bits)
    if waiting is None:
        return (_question("all", problem, architecture, whole, table, bits, None),)
    cost = simulate(problem, architecture, whole, table, bits)
    space = cost.components[waiting.level.name].dataspaces[waiting.space]
    if space.finished_updates == space.updates and not space.algorithmic_reads and waiting.coded is None:
        return (_question("all", problem, architecture, whole, table, waiting.finished, waiting),)
    if space.finished_updates != space.updates or space.algorithmic_reads:
        refuse_coded_sums(waiting)
    both = (("finished", waiting.coded or problem, waiting.finished), ("partial", problem, waiting.partial))
    return tuple(_question(name, asked, architecture, whole, table, widths, waiting) for name, asked, widths in both)


def _question(
    name: str,
    problem: Problem,
    architecture: Architecture,
    mapping: Mapping,
    table: EnergyTable,
    bits: Bits,
    waiting: Waiting | None,
) -> Question:
    if not bits and waiting is None:
        system = SplitSystem(architecture, mapping, table, {}, False)
    else:
        system = split_levels(problem, architecture, mapping, table, bits, None if waiting is None else waiting.level.name)
    cost = _cost(problem, system)
    if system.throttled:
        system = replace(system, architecture=share_bandwidth(system, architecture, cost))
        cost = _cost(problem, system)
    document = model_input(problem, system.architecture, system.mapping, system.table)
    return Question(name, document, system.architecture, problem, cost.energy_pj, cost.cycles)


def _cost(problem: Problem, system: SplitSystem) -> LayerCost:
    # the architecture's own constraints name its levels as they were before they were split
    bare = replace(system.architecture, constraints=Constraints(), front_end=False)
    return simulate(problem, bare, system.mapping, system.table)
