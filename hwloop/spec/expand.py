"""A mapping as the program gets it when upstream's front end stands before it: the constraints of the nodes are part of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hwloop.errors import SpecError
from hwloop.spec.levels import Architecture
from hwloop.spec.loops import REUSE_FLAGS
from hwloop.spec.mapping import Bypass, Loops, Mapping
from hwloop.spec.problem import Problem


def expand_mapping(mapping: Mapping, architecture: Architecture, problem: Problem) -> Mapping:
    """The mapping with what it leaves to the architecture filled in.

    Targets become levels. In the `nodes` form the front end adds the equal factors, permutations, splits, keeps and flags of the
    nodes' constraints, where the mapping says nothing of its own. A spatial target named by its node has been through the front
    end: dimensions that its permutation lacks and that have one pass go in front, where they count towards `split`.

    Raises:
        SpecError: a target that is not there, or a factor unlike the architecture's.
    """
    architecture = architecture.for_problem(problem)
    loops = {}
    for entry in mapping.loops:
        level = architecture.level_of(entry.target, entry.kind)
        if level is None:
            raise SpecError("mapping", "target", f"a level among {[x.name for x in architecture.storage]}", entry.target)
        done = _completed(entry, problem) if entry.kind == "spatial" and level != entry.target else entry
        if (level, entry.kind) in loops:
            raise SpecError("mapping", "target", "each (target, type) once", entry.target)
        loops[level, entry.kind] = replace(done, target=level)
    if not architecture.front_end:
        return mapping if tuple(loops.values()) == mapping.loops else replace(mapping, loops=tuple(loops.values()))
    for c in architecture.constraints.loops:
        fixed = tuple((d, bound, bound) for d, relation, bound in c.factors if relation == "=")
        own = loops.get((c.target, c.kind))
        order = c.permutation
        if own is None:
            own = Loops(c.target, c.kind, (), order or (), c.split)
        elif not own.permutation and order:
            own = replace(own, permutation=order, split=own.split if own.split is not None else c.split)
        elif own.split is None and c.kind == "spatial" and own.permutation == order:
            own = replace(own, split=c.split)
        given = {d for d, _, _ in own.factors}
        own = replace(own, factors=(*own.factors, *(f for f in fixed if f[0] not in given)))
        flags: dict[str, Any] = {name: tuple(dict.fromkeys((*getattr(own, name), *getattr(c, name)))) for name in REUSE_FLAGS}
        own = replace(own, **flags)
        if order and own.permutation == order and c.kind == "spatial":
            own = _completed(own, problem)
        if own.factors or any(flags.values()):
            loops[c.target, c.kind] = own
    bypass = {entry.target: entry for entry in mapping.bypass}
    for s in architecture.constraints.data_spaces:
        have = bypass.get(s.target, Bypass(s.target))
        said = {*have.keep, *have.bypass}
        keep, passed = (tuple(n for n in names if n not in said) for names in (s.keep, s.bypass))
        bypass[s.target] = Bypass(
            s.target, (*have.keep, *keep), (*have.bypass, *passed), tuple(dict.fromkeys((*have.no_coalesce, *s.no_coalesce)))
        )
    return Mapping(tuple(loops.values()), tuple(bypass.values()))


def _completed(loops: Loops, problem: Problem) -> Loops:
    ones = {d for d, bound, _ in loops.factors if bound == 1} | {d for d, n in problem.sizes.items() if n == 1}
    front = tuple(d for d in problem.shape.dimensions if d in ones and d not in loops.permutation)
    return replace(loops, permutation=(*front, *loops.permutation)) if front and loops.permutation else loops
