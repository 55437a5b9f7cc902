"""What a mapping with incomplete passes really costs, where the real program credits it with less.

The program multiplies the counts of the first instance, which is always busy, by the instances used on average, rounded down to
whole ones; words that arrive it first spreads evenly over all instances that the loops name. A level that uses 13.5 of 14
instances on average is charged for 13, and for 13/14 of what it is filled with. Numbers that are printed stay the program's;
where mappings are compared, and held against a bound, they count in full.
"""

from __future__ import annotations

from math import ceil, inf, prod

from hwloop.mapper.simulation import BatchSimulation
from hwloop.simulator.imperfect import instances_used
from hwloop.simulator.loops import mapping_loops
from hwloop.simulator.nest import TEMPORAL
from hwloop.simulator.result import LayerCost
from hwloop.simulator.walk import with_idle_loops
from hwloop.spec.mapping import Mapping


def true_cost(simulation: BatchSimulation, mapping: Mapping, cost: LayerCost) -> tuple[float, float]:
    """Energy [pJ] and cycles of a mapping with every count in full; what the simulator says where every pass is complete."""
    compiled, prices = simulation.compiled, simulation.prices
    loops, _, _ = mapping_loops(compiled, mapping)
    if all(loop.bound == loop.remainder for loop in loops):
        return cost.energy_pj, float(cost.cycles)
    used, _, fan_x, fan_y = instances_used(compiled, with_idle_loops(compiled, loops))
    busy = prod(loop.bound for loop in loops if loop.axis == TEMPORAL)
    energy, cycles = cost.energy_pj, float(cost.cycles)
    for index, level in enumerate(compiled.levels):
        component = cost.components.get(level.name)
        if component is None or level.spatial:
            continue
        named = prod(x * y for x, y in zip(fan_x[:index], fan_y[:index], strict=True))
        short = named / used[index] if used[index] else inf  # words that arrive, and words in a cycle
        lost = min(1.0 + 1.0 / used[index], short) if used[index] else inf  # all others, at most
        energy += (lost - 1.0) * component.leakage_pj
        for s, space in enumerate(compiled.spaces):
            counts = component.dataspaces.get(space.name)
            if counts is not None and simulation.sparse:
                energy += (short - 1.0) * counts.energy_pj
            elif counts is not None:
                filled = counts.instances * counts.fills * prices.fill[index, s]
                energy += (lost - 1.0) * (counts.energy_pj - filled) + (short - 1.0) * filled
        if component.cycles > busy:
            cycles = max(cycles, float(ceil(component.cycles * short - 1e-6)))
    energy += cost.components[compiled.compute_name].energy_pj * max(
        simulation.problem.computes / max(cost.computes, 1) - 1.0, 0.0
    )
    return float(energy), float(cycles)
