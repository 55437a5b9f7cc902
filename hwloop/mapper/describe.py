"""A mapping in words: the loop nest as Timeloop prints it, and the numbers by level."""

from __future__ import annotations

from dataclasses import dataclass

from hwloop.mapper.result import MapResult
from hwloop.simulator.result import LayerCost
from hwloop.spec.architecture import Architecture
from hwloop.spec.loops import complete_permutation
from hwloop.spec.mapping import Mapping
from hwloop.spec.problem import Problem


@dataclass(frozen=True)
class LevelRow:
    """One (level, data space) of the table, or the compute units or wires (without a data space).

    Attributes:
        level: the component.
        data_space: empty for the compute units.
        tile_size: words held [words].
        capacity: words the level holds [words], None when unbounded.
        instances: in use; 0 for wires.
        reads: of one instance [words]; likewise `fills` and `updates`.
        energy_pj: of all instances, leakage excluded for data spaces [pJ].
        share: of the layer's energy, 0-1.
        cycles: of the layer if only this component throttled; 0 for wires, which never do.
    """

    level: str
    data_space: str
    tile_size: int
    capacity: int | None
    instances: int
    reads: int
    fills: int
    updates: int
    energy_pj: float
    share: float
    cycles: int


def level_table(cost: LayerCost, architecture: Architecture) -> tuple[LevelRow, ...]:
    """The numbers by level and data space, outermost first, then the compute units, then the wires that cost anything."""
    rows = []
    for level in architecture.storage:
        component = cost.components.get(level.name)
        if component is None:
            continue
        for name, space in component.dataspaces.items():
            rows.append(
                LevelRow(
                    level.name, name, space.tile_size, level.entries, space.instances, space.reads, space.fills, space.updates,
                    space.energy_pj, space.energy_pj / max(cost.energy_pj, 1e-300), component.cycles,
                )
            )  # fmt: skip
    compute = cost.components[architecture.compute.name]
    share = compute.energy_pj / max(cost.energy_pj, 1e-300)
    rows.append(
        LevelRow(architecture.compute.name, "", 0, None, compute.instances, 0, 0, 0, compute.energy_pj, share, compute.cycles)
    )
    for name, wires in cost.networks.items():
        if wires.energy_pj:
            share = wires.energy_pj / max(cost.energy_pj, 1e-300)
            rows.append(LevelRow(f"wires {name}", "", 0, None, 0, 0, 0, 0, wires.energy_pj, share, 0))
    return tuple(rows)


def loop_nest(mapping: Mapping, problem: Problem, architecture: Architecture, cost: LayerCost | None = None) -> str:
    """The loop nest, outermost first, indented a step a loop, as Timeloop's `map.txt` has it.

    Args:
        mapping: the mapping.
        problem: the layer.
        architecture: the accelerator.
        cost: with it, each level names the words of each data space it keeps.
    """
    lines: list[str] = []
    depth = 0
    for i, level in enumerate(architecture.storage):
        kept = _kept(mapping, problem, architecture, i, cost)
        loops = _level_loops(mapping, problem, level.name)
        if level.kind != "spatial":
            title = f"{level.name} [ {', '.join(kept)} ]"
            lines += [title, "-" * len(title)]
        for text in loops:
            lines.append(f"| {'  ' * depth}{text}")
            depth += 1
        if level.kind != "spatial" or loops:
            lines.append("")
    lines.append(f"{'  ' * depth}{architecture.compute.name}: << Compute >>")
    return "\n".join(lines)


def _kept(mapping: Mapping, problem: Problem, architecture: Architecture, index: int, cost: LayerCost | None) -> list[str]:
    level = architecture.storage[index]
    if cost is not None:
        component = cost.components.get(level.name)
        return [f"{n}:{s.tile_size}" for n, s in component.dataspaces.items() if s.tile_size] if component else []
    entry = mapping.find_bypass(level.name)
    names = [s.name for s in problem.shape.data_spaces]
    return [n for n in names if entry is None or n not in entry.bypass]


def _level_loops(mapping: Mapping, problem: Problem, name: str) -> list[str]:
    """The loops of a level, outermost first: temporal ones, then Y, then X."""
    out: list[str] = []
    temporal, spatial = mapping.find(name, "temporal"), mapping.find(name, "spatial")
    if temporal is not None:
        out += [_loop(problem, *f) for f in _ordered(temporal.factors, temporal.permutation, problem)]
    if spatial is not None:
        order = complete_permutation(spatial.permutation, problem.shape.dimensions)
        split = len(order) if spatial.split is None else spatial.split
        for d, bound, rest in _ordered(spatial.factors, spatial.permutation, problem):
            out.append(f"{_loop(problem, d, bound, rest)} (Spatial-{'X' if order.index(d) < split else 'Y'})")
    return out


def _ordered(
    factors: tuple[tuple[str, int, int], ...], permutation: tuple[str, ...], problem: Problem
) -> list[tuple[str, int, int]]:
    found = {d: (bound or problem.sizes[d], rest or problem.sizes[d]) for d, bound, rest in factors}
    order = reversed(complete_permutation(permutation, problem.shape.dimensions))
    return [(d, *found[d]) for d in order if found.get(d, (1, 1))[0] > 1]


def _loop(problem: Problem, dimension: str, bound: int, rest: int) -> str:
    return f"for {dimension} in [0:{bound})" if rest == bound else f"for {dimension} in [0:{bound},{rest})"


def describe(result: MapResult, problem: Problem, architecture: Architecture) -> str:
    """The loop nest, the ceiling that binds, and what does not divide."""
    cost = result.cost
    lines = [loop_nest(result.mapping, problem, architecture, cost), ""]
    lines.append(f"energy {cost.energy_pj:.6g} pJ, {cost.cycles} cycles, utilization {cost.utilization:.1%}, EDP {cost.edp:.6g}")
    lines.append(f"bound by {result.ceiling}")
    return "\n".join([*lines, *map(str, result.padding)])
