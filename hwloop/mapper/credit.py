"""What a mapping with incomplete passes really costs, where the real program credits it with less.

The program spreads a count evenly over all instances that the loops name, multiplies it by the instances used on average, and rounds
these down to whole ones. A level that 13.5 of 14 instances use on average is charged 13/14 of what moves. Numbers that are printed
stay the program's; where mappings are compared, and held against a bound, they count in full.
"""

from __future__ import annotations

from math import inf, prod

from hwloop.simulator.compiled import Compiled
from hwloop.simulator.imperfect import instances_used
from hwloop.simulator.loops import mapping_loops
from hwloop.simulator.nest import TEMPORAL
from hwloop.simulator.result import LayerCost
from hwloop.spec.mapping import Mapping


def uncredited(compiled: Compiled, mapping: Mapping) -> float:
    """The most that any count of a mapping falls short, as a factor; 1 where every pass is complete."""
    loops, keep = mapping_loops(compiled, mapping)
    if all(loop.bound == loop.remainder for loop in loops):
        return 1.0
    used, innermost, fan_x, fan_y = instances_used(compiled, loops)
    worst = 1.0
    for level in range(len(keep) + 1):
        if level == len(keep) or any(keep[level]):
            have = used[level] if level < len(keep) else float(int(innermost * fan_x[-1] * fan_y[-1]))
            named = prod(x * y for x, y in zip(fan_x[:level], fan_y[:level], strict=True))
            worst = max(worst, named / have if have else inf)
    return worst


def true_cost(compiled: Compiled, mapping: Mapping, cost: LayerCost) -> tuple[float, float]:
    """Energy [pJ] and cycles of a mapping with every count in full."""
    factor = uncredited(compiled, mapping)
    if factor == 1.0:
        return cost.energy_pj, float(cost.cycles)
    loops, _ = mapping_loops(compiled, mapping)
    compute = prod(loop.bound for loop in loops if loop.axis == TEMPORAL)
    throttled = [c.cycles * factor for name, c in cost.components.items() if c.cycles > compute]
    return cost.energy_pj * factor, max([float(cost.cycles), *throttled])
