"""The nest analysis of one mapping with imperfect factors, from a walk over its loops."""

from __future__ import annotations

from hwloop.errors import InfeasibleMappingError
from hwloop.simulator.analysis import Profile, collapse, deliveries, extents_of
from hwloop.simulator.compiled import Compiled
from hwloop.simulator.nest import SPATIAL_X, TEMPORAL, Flags, Loop, Nest
from hwloop.simulator.walk import Walk


def analyse_imperfect(compiled: Compiled, loops: list[Loop], keep: list[list[bool]], flags: Flags) -> Nest:
    """Analyses a nest in which some loop is cut short in its last pass.

    Args:
        compiled: problem and architecture.
        loops: loops with a bound above 1, innermost first.
        keep: `keep[level][data space]`.
        flags: reuse that the mapping forbids.

    Raises:
        InfeasibleMappingError: the real program has no answer for the mapping.
    """
    walk = Walk(compiled, loops, flags)
    walk.run()
    count = len(compiled.levels)
    profiles = [Profile(count) for _ in compiled.spaces]
    bounds = [1] * len(compiled.bounds)
    by_level: list[tuple[int, ...]] = [()] * count
    innermost: dict[int, int] = {}
    for i, loop in enumerate(walk.loops):
        bounds[loop.dimension] *= loop.bound
        for s, profile in enumerate(profiles):
            if walk.boundary[i]:
                profile.sizes[loop.level] = walk.states[i].largest[s]
            if walk.master[i]:
                profile.spatial_sizes[loop.level] = walk.states[i].largest[s]
        if walk.boundary[i]:
            by_level[loop.level] = tuple(bounds)
        if loop.level not in innermost and (walk.master[i] or loop.axis == TEMPORAL):
            innermost[loop.level] = i
    for level, i in innermost.items():
        for s, profile in enumerate(profiles):
            profile.shares[level], profile.links[level] = walk.states[i].shares[s], walk.states[i].links[s]
            profile.hops[level] = walk.states[i].hops[s]
            profile.extents[level] = extents_of(compiled.spaces[s], by_level[level])
    instances, average, fan_x, fan_y = instances_used(compiled, walk.loops)
    x, y = [1], [1]
    for level in range(count):
        x.append(x[-1] * fan_x[level])
        y.append(y[-1] * fan_y[level])
    iterations = 1
    for loop in walk.loops:
        iterations *= loop.bound if loop.axis == TEMPORAL else 1
    fanout = [a * b for a, b in zip(fan_x, fan_y, strict=True)]
    passes = sum(walk.computes.values()) / len(walk.computes)
    tiles = collapse(compiled, profiles, keep, fanout, instances, flags)
    return Nest(
        tiles=tiles,
        deliveries=deliveries(compiled, profiles, tiles),
        bounds=list(by_level),
        instances=instances[:-1],
        x_expansion=x[:-1],
        y_expansion=y[:-1],
        compute_instances=float(int(average * fanout[-1])),
        compute_x=x[-1],
        compute_y=y[-1],
        compute_accesses=passes,
        temporal_iterations=iterations,
        imperfect=True,
        loops=loops,
    )


def instances_used(compiled: Compiled, loops: list[Loop]) -> tuple[list[float], float, list[int], list[int]]:
    """Instances used on average: whole ones by level, exactly in the innermost level; and the fan-outs along X and Y."""
    count = len(compiled.levels)
    fan_x, fan_y = [1] * count, [1] * count
    used = innermost = 1.0
    at_level = [1.0] * (count + 1)
    for i in range(len(loops) - 1, -1, -1):
        loop = loops[i]
        if loop.axis == TEMPORAL:
            at_level[loop.level] = float(int(used))  # the real program keeps whole instances
            innermost = used
            continue
        if loop.axis == SPATIAL_X:
            fan_x[loop.level] *= loop.bound
        else:
            fan_y[loop.level] *= loop.bound
        if loop.bound == loop.remainder:
            used *= loop.bound
            continue
        around = [x for x in loops[i + 1 :] if x.dimension == loop.dimension]
        if not around:
            raise InfeasibleMappingError(
                f"{compiled.levels[loop.level].name}: the outermost loop of dimension {compiled.dimensions[loop.dimension]} "
                f"is spatial and cut short ({loop.bound}, {loop.remainder} in the last pass); give it whole passes",
                compiled.levels[loop.level].name,
            )
        size = 1.0
        for x in reversed(around):
            size = x.remainder + x.bound * (size - 1)
        used = used * (loop.remainder + loop.bound * (size - 1)) / size
    at_level[count] = float(int(used))
    return at_level, innermost, fan_x, fan_y
