"""From constraints as written to constraints on this accelerator and this problem: targets, macros, `*`, unknown names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hwloop.errors import SpecError
from hwloop.spec.constraints import EVERY, Constraints, DataSpaceConstraint, LoopConstraint
from hwloop.spec.document import nearest
from hwloop.spec.problem import Problem

CONVOLUTION = frozenset("NCMRSPQG")  # one constraint file fits all these layers: a depthwise one has no M, most have no G


def level_of(target: str, kind: str, names: Sequence[str], fans_out: Sequence[bool]) -> str | None:
    """The level that a target means, None when there is none.

    A target is a level, the node (component or container) whose fan-out the level `inter_<node>_spatial` is, or a number that
    counts the levels from the innermost.

    Args:
        target: as written.
        kind: `spatial`, or anything else.
        names: the storage and spatial levels, outermost first.
        fans_out: whether each has more than one instance of the next level below it.
    """
    if re.fullmatch("[0-9]{1,9}", target) and target not in names:
        return names[-1 - int(target)] if int(target) < len(names) else None
    spread = f"inter_{target}_spatial"
    if target in names and (kind != "spatial" or fans_out[names.index(target)] or spread not in names):
        return target
    return spread if kind == "spatial" and spread in names else None


def on_levels(constraints: Constraints, names: Sequence[str], fans_out: Sequence[bool]) -> Constraints:
    """The same constraints with every target a level's name.

    Raises:
        SpecError: a target that is no level, with the nearest one.
    """

    def level(target: str, kind: str) -> str:
        found = level_of(target, kind, names, fans_out)
        if found is None:
            near = nearest(target, names)
            raise SpecError(
                constraints.source, "constraints", f"a storage or inter_..._spatial level among {list(names)}", target,
                f"did you mean {near!r}?" if near else "these constraints are of another accelerator",
            )  # fmt: skip
        return found

    loops = [replace(c, target=level(c.target, c.kind)) for c in constraints.loops]
    spaces = [replace(c, target=level(c.target, "dataspace")) for c in constraints.data_spaces]
    if tuple(loops) == constraints.loops and tuple(spaces) == constraints.data_spaces:
        return constraints
    out = replace(constraints, loops=(), data_spaces=())
    for loop in loops:
        out = out.merged_with(replace(constraints, loops=(loop,), data_spaces=()))
    for space in spaces:
        out = out.merged_with(replace(constraints, loops=(), data_spaces=(space,)))
    return out


def for_problem(constraints: Constraints, problem: Problem) -> Constraints:
    """The same constraints in the problem's own dimensions and data spaces.

    Macros become factors, `*` becomes the data spaces it stands for. Dimensions that a convolution may have and this problem
    lacks are left out: a split goes on dividing those that are left where it divided them before.

    Raises:
        SpecError: a dimension or a data space that the problem does not have, with the nearest one.
    """
    for c in constraints.loops:
        _check_dimensions(c, constraints, problem)
    loops = tuple(_loop(c, constraints, problem) for c in constraints.for_dimensions(problem.shape.dimensions).loops)
    spaces = tuple(_space(c, constraints, problem) for c in constraints.data_spaces)
    if loops == constraints.loops and spaces == constraints.data_spaces:
        return constraints
    return replace(constraints, loops=loops, data_spaces=spaces)


def _unknown(constraints: Constraints, where: str, name: str, known: Sequence[str], what: str) -> SpecError:
    near = nearest(name, known)
    hint = f"did you mean {near!r}?" if near else "these constraints are of another problem"
    return SpecError(constraints.source, where, f"{what} among {list(known)}", name, hint)


def _check_dimensions(c: LoopConstraint, constraints: Constraints, problem: Problem) -> None:
    dims = problem.shape.dimensions
    spare = CONVOLUTION if set(dims) <= CONVOLUTION else frozenset()
    for name in (*(d for d, _, _ in c.factors), *(c.permutation or ())):
        if name not in dims and name not in spare and name != "*":
            raise _unknown(constraints, f"{c.target} ({c.kind})", name, dims, "a dimension")


def _loop(c: LoopConstraint, constraints: Constraints, problem: Problem) -> LoopConstraint:
    where = f"{c.target} ({c.kind})"
    factors = list(c.factors)
    for word, names in c.macros:
        _apply_macro(word, names, factors, constraints, where, problem)
    flags: dict[str, Any] = {
        name: _names(getattr(c, name), constraints, where, problem)
        for name in ("no_reuse", "no_link_transfer", "rmw_first_update")
    }
    return replace(c, factors=tuple(factors), macros=(), **flags)


def _apply_macro(
    word: str, names: tuple[str, ...], factors: list[tuple[str, str, int]], constraints: Constraints, where: str, problem: Problem
) -> None:
    dims = problem.shape.dimensions
    if word in ("default_max_factor", "default_min_factor"):
        relation = "<=" if word == "default_max_factor" else ">="
        factors += [(d, relation, int(names[0])) for d in dims if not any(f[0] == d and f[1] in (relation, "=") for f in factors)]
        return
    touched = {
        d for n in _names(names, constraints, where, problem) for d in problem.shape.data_space(n).dimensions
    }  # fmt: skip
    ones = {
        "factors_only": [d for d in dims if not any(f[0] == d for f in factors)],
        "no_iteration_over_dataspaces": [d for d in dims if d in touched],
        "must_iterate_over_dataspaces": [d for d in dims if d not in touched],
    }[word]
    for d in ones:
        have = [f for f in factors if f[0] == d]
        if any(f[2] != 1 for f in have):
            raise SpecError(constraints.source, f"{where}.{word}", f"{d} to have no other factor here", have[0])
        factors += [] if have else [(d, "=", 1)]


def _names(names: tuple[str, ...], constraints: Constraints, where: str, problem: Problem) -> tuple[str, ...]:
    known = [s.name for s in problem.shape.data_spaces]
    for name in names:
        if name != EVERY and name not in known:
            raise _unknown(constraints, where, name, known, "a data space")
    return tuple(known) if EVERY in names else names


def _space(c: DataSpaceConstraint, constraints: Constraints, problem: Problem) -> DataSpaceConstraint:
    known = tuple(s.name for s in problem.shape.data_spaces)
    where = f"{c.target} (dataspace)"
    for name in (*c.keep, *c.bypass, *c.no_coalesce, *(c.only or ())):
        if name != EVERY and name not in known:
            raise _unknown(constraints, where, name, known, "a data space")
    named_bypass = tuple(n for n in c.bypass if n != EVERY)
    keep = tuple(n for n in known if n in c.keep or (EVERY in c.keep and n not in named_bypass))
    shut_out = tuple(n for n in known if (EVERY in c.bypass or (c.only is not None and n not in c.only)) and n not in keep)
    bypass = tuple(n for n in known if n in named_bypass or n in shut_out)
    return DataSpaceConstraint(c.target, keep, bypass, _names(c.no_coalesce, constraints, where, problem))
