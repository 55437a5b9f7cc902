"""Feature maps that stay on chip between layers: one layer's part of it, as a change of the accelerator it is mapped on.

A map that stays at an inner level is kept there whole by the layer that writes it and by those that read it: the levels outside
are passed by, and no loop outside goes over it. What other maps hold of the level meanwhile is taken off its capacity.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from hwloop.errors import InfeasibleMappingError
from hwloop.simulator.packing import pack
from hwloop.spec.constraints import EVERY, DataSpaceConstraint, LoopConstraint
from hwloop.spec.levels import Architecture, Level
from hwloop.spec.problem import Problem


@dataclass(frozen=True)
class Residency:
    """What of a layer's data stays at an inner level.

    Attributes:
        level: the level's name; there is one instance of it.
        spaces: the layer's data spaces that stay there, in the shape's order.
        reserved: rows of it that hold other maps while the layer runs.
    """

    level: str
    spaces: tuple[str, ...] = ()
    reserved: int = 0


def level_for_maps(arch: Architecture) -> str | None:
    """The level where maps may stay: the outermost one inside the first with a bound, one instance, and no part of `!Parallel`.

    None where there is none.
    """
    for level in arch.storage[1:]:
        if level.kind == "spatial" or level.instances > 1:
            return None
        constraint = arch.constraints.data_space(level.name) or DataSpaceConstraint(level.name)
        if level.entries is not None and constraint.only is None and not {"Inputs", "Outputs"} & {*constraint.bypass}:
            return level.name
    return None


def rows_for(level: Level, values: int, bits: int | None) -> int:
    """Rows of a level that so many values take, of its `datawidth` when None."""
    return int(pack(level, 1.0, bits).rows(values))


def resident_architecture(arch: Architecture, problem: Problem, residency: Residency) -> Architecture:
    """The accelerator as a layer finds it, some of whose data stays at an inner level.

    Args:
        arch: with the constraints of the dataflow merged in.
        problem: the layer.
        residency: what stays.

    Raises:
        InfeasibleMappingError: the level has no room left, or the dataflow wants a loop outside it over what stays.
    """
    names = [level.name for level in arch.storage]
    at = names.index(residency.level)
    constraints = arch.for_problem(problem).constraints
    if residency.spaces:
        over = {d for space in residency.spaces for rank in problem.shape.data_space(space).projection for d, _ in rank}
        loops = {(c.target, c.kind): c for c in constraints.loops}
        for i, outside in enumerate(arch.storage[:at]):
            for kind in ("temporal", "spatial") if arch.fanout[i] != (1, 1) else ("temporal",):
                own = loops.get((outside.name, kind), LoopConstraint(outside.name, kind))
                loops[outside.name, kind] = replace(own, factors=_held_at_one(own, over, problem, residency.level))
        every = [space.name for space in problem.shape.data_spaces]
        spaces = {c.target: c for c in constraints.data_spaces}
        for outside in arch.storage[:at]:
            if outside.kind != "spatial":
                spaces[outside.name] = _passed(spaces.get(outside.name), outside.name, residency.spaces, every, names[0])
        spaces[residency.level] = _kept(spaces.get(residency.level), residency)
        constraints = replace(constraints, loops=tuple(loops.values()), data_spaces=tuple(spaces.values()))
    levels = list(arch.levels)
    if residency.reserved:
        levels[at] = _smaller(levels[at], residency.reserved)
    return replace(arch, levels=tuple(levels), constraints=constraints)


def _held_at_one(own: LoopConstraint, over: Iterable[str], problem: Problem, level: str) -> tuple[tuple[str, str, int], ...]:
    """The factors of a target with those of `over` at 1."""
    out = [factor for factor in own.factors if factor[0] not in over]
    for name, relation, bound in own.factors:
        wanted = bound or problem.sizes.get(name, 1)
        if name in over and wanted > 1 and relation in ("=", ">="):
            reason = f"{own.target} must hold {name}{relation}{bound} (constraint), outside {level}"
            raise InfeasibleMappingError(reason, own.target)
    return (*out, *((name, "=", 1) for name in problem.shape.dimensions if name in over))


def _passed(
    own: DataSpaceConstraint | None, target: str, spaces: Iterable[str], every: Iterable[str], outermost: str
) -> DataSpaceConstraint:
    """The constraint of a level outside: it keeps none of `spaces`, and the outermost level all the others."""
    own = own or DataSpaceConstraint(target)
    keep = every if EVERY in own.keep or target == outermost else own.keep
    kept = tuple(name for name in keep if name not in spaces and name not in own.bypass)
    return replace(own, keep=kept, bypass=tuple(dict.fromkeys((*own.bypass, *spaces))))


def _kept(own: DataSpaceConstraint | None, residency: Residency) -> DataSpaceConstraint:
    own = own or DataSpaceConstraint(residency.level)
    refused = [name for name in residency.spaces if name in own.bypass or (EVERY in own.bypass and name not in own.keep)]
    if refused:
        raise InfeasibleMappingError(f"{residency.level} keeps no {refused[0]} (constraint)", residency.level, refused[0])
    return replace(own, keep=tuple(dict.fromkeys((*own.keep, *residency.spaces))))


def _smaller(level: Level, reserved: int) -> Level:
    """The level without the rows that are taken."""
    assert level.entries is not None
    buffering = level.number("multiple_buffering", 1.0) or 1.0
    left = level.entries - int(reserved * level.block_size * buffering)
    if left <= 0:
        raise InfeasibleMappingError(f"{level.name}: other feature maps hold all of its rows ({reserved})", level.name)
    attributes = {name: value for name, value in level.attributes if name not in ("depth", "sizeKB")}
    return replace(level, attributes=tuple({**attributes, "entries": left}.items()))
