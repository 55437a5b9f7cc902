"""One mapping at a time: `Simulator` compiled once, `simulate` for a single call."""

from __future__ import annotations

from typing import Any

from hwloop.simulator.activity import Activity, dense_activity
from hwloop.simulator.analysis import analyse
from hwloop.simulator.compiled import Compiled
from hwloop.simulator.cost import Cost, evaluate, needed_capacity
from hwloop.simulator.fit import check_fit
from hwloop.simulator.imperfect import analyse_imperfect
from hwloop.simulator.loops import mapping_loops
from hwloop.simulator.nest import Nest
from hwloop.simulator.numeric import unsigned
from hwloop.simulator.pricing import compile_simulation
from hwloop.simulator.result import ComponentCost, DataSpaceCost, LayerCost, WiresCost
from hwloop.simulator.sparse import SparseContext, nest_of_mapping, prepare, sparse_activity, sparse_needed
from hwloop.spec.architecture import Architecture, load_architecture
from hwloop.spec.bits import Bits
from hwloop.spec.energy_table import EnergyTable, load_energy_table
from hwloop.spec.expand import expand_mapping
from hwloop.spec.mapping import Mapping, load_mapping
from hwloop.spec.problem import Problem, load_problem


class Simulator:
    """A problem on an accelerator, ready to cost mappings one by one.

    Args:
        problem: the layer.
        architecture: the accelerator.
        energy_table: energies [pJ] per vector access; never rescaled.
        bits: widths of values [bits]; see `compile_simulation`.

    Raises:
        SpecError: bits of an unknown data space.
        EnergyTableError: a component or action that the table lacks.
    """

    def __init__(self, problem: Problem, architecture: Architecture, energy_table: EnergyTable, bits: Bits | None = None) -> None:
        self.compiled = compile_simulation(problem, architecture, energy_table, bits)
        self.sparse = prepare(self.compiled) if sparse_needed(self.compiled) else None

    def run(self, mapping: Mapping) -> LayerCost:
        """The cost of a mapping.

        Raises:
            InfeasibleMappingError: the accelerator cannot run it; the reason names the level, the need and the room.
            SpecError: the mapping names something that is not there.
        """
        nest, activity, cost = self.parts(mapping)
        return layer_cost(self.compiled, nest, activity, cost, average=self.averaged(nest))

    def parts(self, mapping: Mapping) -> tuple[Nest, Activity, Cost]:
        """The nest of a mapping, what is done of it, and what that costs; errors as `run`."""
        nest = nest_of(self.compiled, mapping)
        activity = dense_activity(self.compiled, nest)
        if self.sparse is not None:
            context, shape = nest_of_mapping(self.sparse, nest, mapping)
            activity = sparse_activity(self._seen(context), nest, shape)
        check_fit(self.compiled, activity)
        return nest, activity, evaluate(self.compiled, nest, activity)

    def averaged(self, nest: Nest) -> bool:
        """Whether the instances in use are said on average, as the real program does of dense imperfect factors."""
        return nest.imperfect and self.sparse is None

    def _seen(self, context: SparseContext) -> SparseContext:
        """What the sparse analysis works on: everything as it is. For one that asks what would be if it were not."""
        return context


def nest_of(compiled: Compiled, mapping: Mapping) -> Nest:
    """The analysed nest of a mapping, before sparsity and capacity.

    Raises:
        InfeasibleMappingError: factors that do not cover the problem, or bypassed data.
        SpecError: the mapping names something that is not there.
    """
    loops, keep, flags = mapping_loops(compiled, mapping)
    if any(loop.bound != loop.remainder for loop in loops):
        return analyse_imperfect(compiled, loops, keep, flags)
    return analyse(compiled, loops, keep, flags)


def simulate(
    problem: Problem | Any, architecture: Architecture | Any, mapping: Mapping | Any, energy_table: EnergyTable | Any,
    bits: Bits | None = None,
) -> LayerCost:  # fmt: skip
    """The cost of one layer under one mapping, as the real Timeloop computes it.

    Args:
        problem: a `Problem`, or what `load_problem` takes.
        architecture: an `Architecture`, or what `load_architecture` takes.
        mapping: a `Mapping`, or what `load_mapping` takes.
        energy_table: an `EnergyTable`, or what `load_energy_table` takes; never rescaled.
        bits: width of the values of a data space [bits], `{data space: int}`, or `{data space: {level: int}}` with `*` for the
            levels not named; `datawidth` of each level where nothing is said. Where a result waits for its reader (the outermost
            level that keeps it) a named level's width is that of finished values, and partial sums have that of `*`.

    Raises:
        InfeasibleMappingError: the accelerator cannot run the mapping; the reason names the level, the need and the room.
        SpecError: a spec that cannot be read, or a name in the mapping that is not there.
        EnergyTableError: a component or action that the table lacks.
    """
    layer, accelerator = load_problem(problem), load_architecture(architecture)
    simulator = Simulator(layer, accelerator, load_energy_table(energy_table), bits)
    return simulator.run(expand_mapping(load_mapping(mapping), accelerator, layer))


def layer_cost(compiled: Compiled, nest: Nest, activity: Activity, cost: Cost, average: bool = False) -> LayerCost:
    """Lays the numbers of one mapping out by component and data space.

    Args:
        compiled: problem, accelerator and energies.
        nest: the analysed nest.
        activity: what is done of it.
        cost: of it.
        average: say how many instances are in use on average, as the real program does of dense imperfect factors.
    """
    components: dict[str, ComponentCost] = {}
    for index, level in enumerate(compiled.levels):
        if level.spatial:
            continue
        spaces: dict[str, DataSpaceCost] = {}
        needed = needed_capacity(level, activity.tiles[index])
        for s, space in enumerate(compiled.spaces):
            tile = nest.tiles[index][s]
            if not tile.kept:
                continue
            done = activity.tiles[index][s]
            metadata = done.metadata
            kinds = {(f"{state}_{kind}" if state != "random" else kind): t.ranks for (state, kind), t in metadata.items()}
            vectors = {kind: t.vectors for (state, kind), t in metadata.items() if state == "random"}
            spaces[space.name] = DataSpaceCost(
                tile_size=tile.size,
                capacity=needed[s],
                instances=int(done.instances) if average else done.x_expansion * done.y_expansion,
                reads=done.reads,
                fills=done.fills,
                updates=done.updates,
                temporal_reductions=done.temporal_reductions,
                energy_pj=cost.levels[index].space_pj[s],
                algorithmic_reads=tile.reads,
                algorithmic_fills=tile.fills,
                algorithmic_updates=tile.updates,
                gated_reads=unsigned(done.gated_reads),
                gated_fills=done.gated_fills,
                gated_updates=unsigned(done.gated_updates),
                skipped_reads=unsigned(done.skipped_reads),
                skipped_fills=done.skipped_fills,
                skipped_updates=unsigned(done.skipped_updates),
                metadata_reads=vectors.get("read", 0),
                metadata_fills=vectors.get("fill", 0),
                metadata_updates=vectors.get("update", 0),
                metadata_capacity_bits=done.metadata_capacity_bits,
                density=min(done.density, 1.0),
                finished_updates=done.finished,
                metadata=kinds,
            )
        used = max((s.instances for s in spaces.values()), default=0)
        own = cost.levels[index]
        components[level.name] = ComponentCost(own.energy_pj, own.leakage_pj, own.cycles, used, spaces)
    done_compute = activity.compute
    cycles = cost.cycles - compiled.network_latency
    used = done_compute.x_expansion * done_compute.y_expansion
    components[compiled.compute_name] = ComponentCost(cost.compute_pj, 0.0, cycles, used)
    return LayerCost(
        energy_pj=cost.energy_pj,
        cycles=cost.cycles,
        utilization=cost.utilization,
        computes=int(nest.computes),
        components=components,
        actual_computes=done_compute.computes,
        gated_computes=done_compute.gated,
        skipped_computes=done_compute.skipped,
        networks={
            name: WiresCost(sum(energies), dict(zip((s.name for s in compiled.spaces), energies, strict=True)))
            for name, energies in cost.networks_pj.items()
        },
        compute_leakage_pj=cost.compute_leakage_pj,
        padded_computes=int(nest.computes) - compiled.problem.computes,
    )
