"""Whether a mapping keeps to the constraints: an independent reading of both, that shares no code with the search."""

from __future__ import annotations

from math import prod

from hwloop.spec.architecture import Architecture
from hwloop.spec.constraints import Constraints, LoopConstraint
from hwloop.spec.loops import complete_permutation
from hwloop.spec.mapping import Loops, Mapping
from hwloop.spec.problem import Problem


def check(mapping: Mapping, problem: Problem, architecture: Architecture, constraints: Constraints | None = None) -> list[str]:
    """Every constraint that a mapping breaks, one sentence each; empty when it keeps to them all.

    Args:
        mapping: the loop nest.
        problem: the layer.
        architecture: the accelerator with its own constraints.
        constraints: more of them, in place of the accelerator's on the same level and kind.
    """
    architecture = architecture.with_constraints(constraints).for_problem(problem)
    found = _products(mapping, problem)
    for i, level in enumerate(architecture.storage):
        for kind in ("temporal", "spatial"):
            loops = mapping.find(level.name, kind) or Loops(level.name, kind, ())
            constraint = architecture.constraints.loop(level.name, kind)
            if constraint is not None:
                found += _factors(loops, constraint, problem)
                ordered = _axes if kind == "spatial" else _order
                found += ordered(loops, constraint, problem, architecture.front_end)
            if kind == "spatial":
                found += _fan_out(loops, architecture.fanout[i], problem)
            elif level.kind == "spatial" and constraint is None and _used(loops, problem):
                found.append(f"{level.name}: a fan-out holds temporal loops {sorted(_used(loops, problem))}")
        found += _keeps(mapping, architecture, problem, level.name, i == 0, level.kind == "spatial")
    used = prod(b for loops in mapping.loops if loops.kind == "spatial" for b in _used(loops, problem).values())
    have = architecture.compute.instances
    if used < architecture.constraints.min_utilization * have:
        found.append(
            f"{used} of {have} compute units are used, min_utilization asks for {architecture.constraints.min_utilization:g}"
        )
    return found


def _used(loops: Loops, problem: Problem) -> dict[str, int]:
    """Loops of more than one pass: {dimension: bound}."""
    bounds = {d: (bound or problem.sizes[d]) for d, bound, _ in loops.factors}
    return {d: bound for d, bound in bounds.items() if bound > 1}


def _products(mapping: Mapping, problem: Problem) -> list[str]:
    found = []
    for d, size in problem.sizes.items():
        bounds = [b or size for loops in mapping.loops for name, b, _ in loops.factors if name == d]
        rests = [r or size for loops in mapping.loops for name, _, r in loops.factors if name == d]
        if bounds == rests:
            if prod(bounds) != size:
                found.append(f"{d}: the factors multiply to {prod(bounds)}, the problem has {size}")
        elif prod(bounds) < size:
            found.append(f"{d}: the factors cover {prod(bounds)} at most, the problem has {size}")
    return found


def _factors(loops: Loops, constraint: LoopConstraint, problem: Problem) -> list[str]:
    found = []
    bounds = _used(loops, problem)
    for d, relation, wanted in constraint.factors:
        if d not in problem.sizes:
            continue
        have = bounds.get(d, 1)
        if relation == "=" and wanted <= problem.sizes[d]:
            wanted = wanted or problem.sizes[d]
            broken = have != wanted
        else:
            broken = (relation == "<=" and have > wanted) or (relation == ">=" and have < wanted)
        if broken:
            found.append(f"{loops.target} ({loops.kind}): {d} is {have}, the constraint asks for {d}{relation}{wanted}")
    return found


def _wanted_order(constraint: LoopConstraint, problem: Problem, front_end: bool) -> list[str] | None:
    """The constraint's permutation, `*` kept; by the front end's rule dimensions of one pass in front. None when it is free."""
    if constraint.permutation is None:
        return None
    ones = {d for d, _, bound in constraint.factors if bound == 1}
    front = [d for d, n in problem.sizes.items() if front_end and d not in constraint.permutation and (n == 1 or d in ones)]
    whole = [*front, *constraint.permutation]
    return whole if "*" in whole else [*whole, "*"]


def _order(loops: Loops, constraint: LoopConstraint, problem: Problem, front_end: bool) -> list[str]:
    wanted = _wanted_order(constraint, problem, front_end)
    if wanted is None:
        return []
    used = _used(loops, problem)
    have = [d for d in complete_permutation(loops.permutation, problem.sizes) if d in used]
    gap = wanted.index("*")
    first = [d for d in wanted[:gap] if d in used]
    last = [d for d in wanted[gap + 1 :] if d in used]
    if have[: len(first)] != first or (last and have[-len(last) :] != last):
        return [f"{loops.target} (temporal): loops are {have} from the innermost, the constraint asks for {wanted}"]
    return []


def _axes(loops: Loops, constraint: LoopConstraint, problem: Problem, front_end: bool) -> list[str]:
    used = _used(loops, problem)
    order = complete_permutation(loops.permutation, problem.sizes)
    split = len(order) if loops.split is None else loops.split
    on_x = {d for d in order[:split] if d in used}
    on_y = {d for d in order[split:] if d in used}
    wanted = _wanted_order(constraint, problem, front_end)
    dims = len(problem.sizes)
    where = f"{loops.target} (spatial)"
    if wanted is None:
        if constraint.split is not None and (len(on_x) > constraint.split or len(on_y) > dims - constraint.split):
            return [f"{where}: {len(on_x)} loops on X and {len(on_y)} on Y, the constraint splits at {constraint.split}"]
        return []
    gap = wanted.index("*")
    named = [d for d in wanted if d != "*"]
    free = [d for d in problem.sizes if d not in named]
    splits = range(dims + 1) if constraint.split is None else [constraint.split]
    for at in splits:
        free_on_x = min(max(at - gap, 0), len(free))
        x_named = set(wanted[: min(at, gap)]) | set(wanted[gap + 1 : max(at - len(free), gap) + 1])
        x_ok = on_x & set(named) <= x_named and not (on_y & x_named)
        if x_ok and len(on_x & set(free)) <= free_on_x and len(on_y & set(free)) <= len(free) - free_on_x:
            return []
    return [f"{where}: {sorted(on_x)} on X, {sorted(on_y)} on Y; the constraint orders {wanted} and splits at {constraint.split}"]


def _fan_out(loops: Loops, room: tuple[int, int], problem: Problem) -> list[str]:
    used = _used(loops, problem)
    order = complete_permutation(loops.permutation, problem.sizes)
    split = len(order) if loops.split is None else loops.split
    found = []
    for axis, dims, have in (("X", order[:split], room[0]), ("Y", order[split:], room[1])):
        spread = prod(used.get(d, 1) for d in dims)
        if spread > have:
            found.append(f"{loops.target} (spatial): {spread} along {axis}, its fan-out has {have}")
    return found


def _keeps(
    mapping: Mapping, architecture: Architecture, problem: Problem, level: str, outermost: bool, spatial: bool
) -> list[str]:
    entry = mapping.find_bypass(level)
    constraint = architecture.constraints.data_space(level)
    found = []
    for space in (s.name for s in problem.shape.data_spaces):
        by_default = not spatial and (constraint is None or not architecture.front_end or space not in constraint.bypass)
        kept = by_default if entry is None or space not in (*entry.keep, *entry.bypass) else space in entry.keep
        if constraint is not None and space in constraint.keep and not kept:
            found.append(f"{level}: {space} is bypassed, the constraint keeps it")
        if constraint is not None and space in constraint.bypass and kept:
            found.append(f"{level}: {space} is kept, the constraint bypasses it")
        if outermost and constraint is None and not kept:
            found.append(f"{level}: {space} is bypassed at the outermost level")
    return found
