"""Costs one mapping with the real program: one run, or as many as widths and densities by level take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from hwloop.backend.timeloop.inputs import model_input
from hwloop.backend.timeloop.read_back import cost_from_stats, merge_split_levels, partition_size
from hwloop.backend.timeloop.split import SplitSystem, check_fit, roomy, share_bandwidth, split_levels
from hwloop.backend.timeloop.waiting import Waiting, find_waiting, moved, recompose, refuse_coded_sums, with_space
from hwloop.simulator import DataSpaceCost, LayerCost
from hwloop.spec.bits import Bits
from hwloop.spec.energy_table import ComponentEnergy, EnergyTable
from hwloop.spec.levels import Architecture
from hwloop.spec.mapping import Mapping as LoopMapping
from hwloop.spec.problem import Problem

RunModel = Callable[[Mapping[str, Any]], str]
_COMPRESSION = "compression_count"


@dataclass(frozen=True)
class Costing:
    """What to cost, and the program that does it.

    Attributes:
        run_model: runs `timeloop-model` on a document and returns the statistics that it prints.
        problem: the layer.
        architecture: the accelerator.
        mapping: a mapping that says for every level what it keeps.
        table: energies per row.
    """

    run_model: RunModel
    problem: Problem
    architecture: Architecture
    mapping: LoopMapping
    table: EnergyTable

    def cost(self, bits: Bits) -> LayerCost:
        """The cost with values of these widths; see `Timeloop.simulate`."""
        waiting = find_waiting(self.problem, self.architecture, self.mapping, bits)
        if waiting is not None:
            return self._cost_waiting(waiting)
        if not bits:
            document = model_input(self.problem, self.architecture, self.mapping, self.table)
            return cost_from_stats(self.run_model(document), self.architecture, self.problem)
        run = self._split(self.problem, bits)
        return check_fit(self.architecture, self._throttled(run), bits)

    def _cost_waiting(self, waiting: Waiting) -> LayerCost:
        last = self._split(waiting.coded or self.problem, waiting.finished, waiting)
        values, done = last.result(waiting)
        if done == values.algorithmic_updates and not values.algorithmic_reads:  # no partial sums
            run, part = last, replace(values, finished_updates=values.updates)
            widths: tuple[Bits, ...] = (waiting.finished,)
            if waiting.coded is not None:
                run = self._split(self.problem, waiting.finished, waiting, self._coding(waiting, values))
        else:
            refuse_coded_sums(waiting)
            run = self._split(self.problem, waiting.partial, waiting)
            part = recompose(waiting, run.result(waiting)[0], values, done, self.table)
            widths = (waiting.partial, waiting.finished)
        name = run.part(waiting)
        known = {name: moved(waiting, last.system, name, part, part.finished_updates)}
        cost = with_space(self._throttled(run, known), waiting.level.name, waiting.space, part)
        return check_fit(self.architecture, cost, *widths)

    def _split(self, problem: Problem, bits: Bits, waiting: Waiting | None = None, table: EnergyTable | None = None) -> _Run:
        """A run on split levels. With a `table` of its own the level where the result waits takes any number of values."""
        apart = None if waiting is None else waiting.level.name
        system = split_levels(problem, self.architecture, self.mapping, table or self.table, bits, apart)
        if waiting is not None and table is not None:
            system = replace(system, architecture=roomy(system.architecture, f"{apart}_{waiting.space}"))
        stats = self.run_model(model_input(problem, system.architecture, system.mapping, system.table))
        return _Run(problem, system, stats)

    def _throttled(self, run: _Run, known: Mapping[str, Mapping[str, float]] | None = None) -> LayerCost:
        """The cost of a run, where split levels have a bandwidth run once more with the share of each, put together again."""
        cost = run.cost
        if run.system.throttled:
            arch = share_bandwidth(run.system, self.architecture, cost, known)
            stats = self.run_model(model_input(run.problem, arch, run.system.mapping, run.system.table))
            cost = cost_from_stats(stats, arch, run.problem)
        return merge_split_levels(cost, run.system.origin)

    def _coding(self, waiting: Waiting, values: DataSpaceCost) -> EnergyTable:
        """The energies for a run without the density of finished values: the level within codes no more than arrives with it."""
        kept = [b.target for b in self.mapping.bypass if waiting.space in b.keep]
        names = [level.name for level in self.architecture.storage if level.name in kept]
        sent = values.updates + values.gated_updates + values.skipped_updates
        share = sent / values.algorithmic_updates if values.algorithmic_updates else 1.0
        if len(names) < 2:
            return self.table
        components = [_scaled(c, share) if c.name == names[1] else c for c in self.table.components]
        return EnergyTable(tuple(components))


@dataclass(frozen=True)
class _Run:
    """One run on split levels.

    Attributes:
        problem: the layer, with the densities of this run.
        system: the split accelerator.
        stats: what was printed.
    """

    problem: Problem
    system: SplitSystem
    stats: str

    @property
    def cost(self) -> LayerCost:
        """By split level."""
        return cost_from_stats(self.stats, self.system.architecture, self.problem)

    def part(self, waiting: Waiting) -> str:
        """The split level where the result waits."""
        return f"{waiting.level.name}_{waiting.space}"

    def result(self, waiting: Waiting) -> tuple[DataSpaceCost, int]:
        """The result there, and how many of its updates are finished values (zeros among them)."""
        part = self.part(waiting)
        space = self.cost.components[part].dataspaces[waiting.space]
        return space, waiting.done(space.algorithmic_updates, partition_size(self.stats, part, waiting.space))


def _scaled(component: ComponentEnergy, share: float) -> ComponentEnergy:
    actions = tuple((name, energy * share if name == _COMPRESSION else energy) for name, energy in component.actions)
    return replace(component, actions=actions)


def in_parts(
    ask: Callable[[Problem, Architecture, LoopMapping, EnergyTable], LayerCost],
    problem: Problem,
    architecture: Architecture,
    mapping: LoopMapping,
    table: EnergyTable,
    bits: Bits,
) -> LayerCost:
    """The cost with several widths, of a simulator that knows one a level (see `split`).

    Args:
        ask: the simulator.
        problem: the layer.
        architecture: the accelerator.
        mapping: says for every level what it keeps.
        table: energies.
        bits: of a value by data space.

    Raises:
        InfeasibleMappingError: the simulator refuses it, or the data do not fit together.
    """
    system = split_levels(problem, architecture, mapping, table, bits)
    cost = ask(problem, system.architecture, system.mapping, system.table)
    if system.throttled:
        cost = ask(problem, share_bandwidth(system, architecture, cost), system.mapping, system.table)
    return check_fit(architecture, merge_split_levels(cost, system.origin), bits)
