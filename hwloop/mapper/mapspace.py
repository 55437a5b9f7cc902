"""The mapspace: what the constraints of an accelerator leave free for one problem.

Constraints mean what they mean to Timeloop (`mapping/constraints`, `mapspaces/uber`): an equal factor of 0 is the whole
dimension, an equal factor above the dimension is ignored, a permutation names the innermost loops (those after `*` the outermost)
and leaves the others free, loops before `split` lie on X, and what is neither kept nor bypassed is free.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from hwloop.errors import InfeasibleMappingError, SpecError
from hwloop.spec.architecture import Architecture
from hwloop.spec.constraints import LoopConstraint
from hwloop.spec.problem import Problem

X_AXIS, Y_AXIS = 1, 2


@dataclass(frozen=True)
class Slot:
    """A place for one loop of every dimension: the temporal loops of a level, or its spatial ones.

    Attributes:
        level: index into `architecture.storage`.
        spatial: whether the loops are spatial.
        low: least bound by dimension.
        high: greatest bound by dimension; equal to `low` where the constraint fixes the factor.
        axes: for a spatial slot, the axes (`X_AXIS`, `Y_AXIS`) a dimension may lie on, by dimension.
        room: for a spatial slot, the fan-out on (X, Y).
    """

    level: int
    spatial: bool
    low: tuple[int, ...]
    high: tuple[int, ...]
    axes: tuple[tuple[int, ...], ...] = ()
    room: tuple[int, int] = (1, 1)


@dataclass(frozen=True)
class AxisRule:
    """What a split and a permutation say about X and Y of one spatial level when only one of them is given.

    Attributes:
        level: index into `architecture.storage`.
        among: the dimensions that the permutation leaves free.
        on_x: at most so many of `among` on X, None when free.
        on_y: at most so many of `among` on Y, None when free.
        order: position of each dimension; all of X come before all of Y. None when free.
    """

    level: int
    among: tuple[int, ...]
    on_x: int | None
    on_y: int | None
    order: tuple[int, ...] | None


@dataclass(frozen=True)
class TemporalOrder:
    """The order that a level's temporal loops may take, innermost first: `first`, then any order of the rest, then `last`."""

    first: tuple[int, ...] = ()
    last: tuple[int, ...] = ()


@dataclass(frozen=True)
class Mapspace:
    """Everything that is free, and the bounds on it.

    Attributes:
        problem: the problem.
        architecture: the accelerator, constraints merged.
        slots: places for loops, innermost first.
        axis_rules: further rules on X and Y.
        orders: the temporal order by level.
        keep: `(level, data space)` 1 kept, 0 bypassed, -1 free.
    """

    problem: Problem
    architecture: Architecture
    slots: tuple[Slot, ...]
    axis_rules: tuple[AxisRule, ...]
    orders: tuple[TemporalOrder, ...]
    keep: tuple[tuple[int, ...], ...]

    @property
    def free_keeps(self) -> tuple[tuple[int, int], ...]:
        """(level, data space) pairs that may be kept or bypassed."""
        return tuple((i, j) for i, row in enumerate(self.keep) for j, k in enumerate(row) if k == -1)


def build_mapspace(problem: Problem, architecture: Architecture) -> Mapspace:
    """What the constraints in `architecture` leave free for `problem`.

    Raises:
        InfeasibleMappingError: a constraint that no loop nest can satisfy.
        SpecError: a constraint that names a data space the problem does not have.
    """
    architecture = architecture.for_problem(problem)
    slots: list[Slot] = []
    rules: list[AxisRule] = []
    orders: list[TemporalOrder] = []
    for i in range(len(architecture.storage) - 1, -1, -1):
        level = architecture.storage[i]
        if architecture.fanout[i] != (1, 1):
            slot, rule = _spatial_slot(problem, architecture, i)
            slots.append(slot)
            rules += [rule] if rule else []
        constraint = architecture.constraints.loop(level.name, "temporal")
        low, high = _bounds(problem, constraint, 1 if level.kind == "spatial" else None)
        if level.kind != "spatial" or any(h > 1 for h in high):
            slots.append(Slot(i, False, low, high))
        orders.insert(0, _order(problem, architecture, constraint))
    _check_products(problem, architecture, slots)
    return Mapspace(problem, architecture, tuple(slots), tuple(rules), tuple(orders), _keep(problem, architecture))


def _bounds(problem: Problem, constraint: LoopConstraint | None, default: int | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
    low = [1] * len(problem.bounds)
    high = [default or bound for bound in problem.bounds]
    if constraint is None:
        return tuple(low), tuple(high)
    for name, relation, bound in sorted(constraint.factors, key=lambda f: f[1] == "="):  # which decides, beside a bound
        if name not in problem.shape.dimensions:  # e.g. M of a convolution's constraints on a depthwise problem
            continue
        d = problem.shape.dimensions.index(name)
        size = problem.bounds[d]
        if relation == "=" and bound <= size:
            low[d] = high[d] = bound or size
        elif relation == "<=":
            high[d] = min(bound, size if default is None else bound)
        elif relation == ">=":
            low[d] = max(low[d], bound)
            high[d] = max(high[d], low[d]) if default is not None else high[d]
        if low[d] > high[d]:
            raise InfeasibleMappingError(
                f"{constraint.target} ({constraint.kind}) must hold {name}{relation}{bound} (constraint), {name} is {size}",
                constraint.target,
            )
    return tuple(low), tuple(high)


def written_order(problem: Problem, architecture: Architecture, constraint: LoopConstraint | None) -> tuple[str, ...]:
    """A constraint's permutation as the Timeloop programs see it, `*` where free dimensions stand; empty when it has none."""
    if constraint is None or constraint.permutation is None:
        return ()
    return constraint.order(problem.sizes, architecture.front_end)


def _order(problem: Problem, architecture: Architecture, constraint: LoopConstraint | None) -> TemporalOrder:
    names = written_order(problem, architecture, constraint)
    if constraint is None or not names:
        return TemporalOrder()
    at = names.index("*") if "*" in names else len(names)
    known = problem.shape.dimensions
    first = tuple(known.index(n) for n in names[:at] if n in known)
    last = tuple(known.index(n) for n in names[at + 1 :] if n in known)
    return TemporalOrder(first, last)


def _spatial_slot(problem: Problem, architecture: Architecture, i: int) -> tuple[Slot, AxisRule | None]:
    constraint = architecture.constraints.loop(architecture.storage[i].name, "spatial")
    low, high = _bounds(problem, constraint, None)
    room = architecture.fanout[i]
    dims, names = problem.shape.dimensions, written_order(problem, architecture, constraint)
    split = constraint.split if constraint else None
    axes = [tuple(a for a, n in ((X_AXIS, room[0]), (Y_AXIS, room[1])) if n > 1)] * len(dims)
    rule = None
    order, free = _positions(names, dims)
    if split is not None:
        start = order[free[0]] if free else 0
        for d in range(len(dims)):
            last = order[d] + len(free) - 1 if d in free else order[d]
            axes[d] = tuple(a for a in axes[d] if (order[d] < split if a == X_AXIS else last >= split))
        if free and start < split < start + len(free):
            rule = AxisRule(i, free, split - start, start + len(free) - split, None)
    elif names and min(room) > 1:
        rule = AxisRule(i, free, None, None, order)
    for d, name in enumerate(dims):
        widest = max((room[a - 1] for a in axes[d]), default=1)
        if low[d] > widest:
            where = architecture.storage[i].name
            reason = f"{where} must hold {name}={low[d]} (constraint), its fan-out has room for {widest}"
            raise InfeasibleMappingError(reason, where)
    high = tuple(min(h, max((room[a - 1] for a in axes[d]), default=1)) for d, h in enumerate(high))
    return Slot(i, True, low, high, tuple(axes), room), rule


def _positions(names: tuple[str, ...], dims: tuple[str, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The place of each dimension in a spatial permutation, and which dimensions it leaves free.

    The free ones share the place of `*`, or come last, as in Timeloop's mapspace; the places of all of them are counted, and
    those of dimensions that the problem lacks (M in a depthwise layer).
    """
    free = tuple(d for d, name in enumerate(dims) if name not in names)
    gap = names.index("*") if "*" in names else len(names)
    order = []
    for d, name in enumerate(dims):
        at = gap if d in free else names.index(name)
        order.append(at - 1 + len(free) if at > gap else at)
    return tuple(order), free


def _keep(problem: Problem, architecture: Architecture) -> tuple[tuple[int, ...], ...]:
    rows = []
    spaces = [s.name for s in problem.shape.data_spaces]
    for i, level in enumerate(architecture.storage):
        constraint = architecture.constraints.data_space(level.name)
        row = []
        for space in spaces:
            state = 1 if i == 0 else -1
            if level.kind == "spatial":
                state = 0
            elif constraint is not None:
                for name in (*constraint.keep, *constraint.bypass):
                    if name not in spaces:
                        raise SpecError(
                            architecture.source, f"constraints.{level.name}.dataspace", f"a data space among {spaces}", name
                        )
                state = 1 if space in constraint.keep else 0 if space in constraint.bypass else state
            row.append(state)
        rows.append(tuple(row))
    for j, space in enumerate(spaces):
        if all(row[j] == 0 for row in rows):
            raise InfeasibleMappingError(f"{space} is bypassed at every level (constraint): no level can hold it", "", space)
    return tuple(rows)


def _check_products(problem: Problem, architecture: Architecture, slots: list[Slot]) -> None:
    for d, (name, size) in enumerate(problem.sizes.items()):
        most = prod(slot.high[d] for slot in slots)
        if most < size:
            held = ", ".join(f"{architecture.storage[s.level].name}<={s.high[d]}" for s in reversed(slots) if s.high[d] > 1)
            raise InfeasibleMappingError(
                f"{name} is {size}, but the factors that the constraints allow multiply to {most} at most ({held or 'all are 1'})"
            )
        least = prod(slot.low[d] for slot in slots)
        bound = [f"{architecture.storage[s.level].name}>={s.low[d]}" for s in reversed(slots) if s.low[d] > 1]
        if least > size and len(bound) > 1:
            raise InfeasibleMappingError(
                f"{name} is {size}, but its constraints multiply to {least} at least ({', '.join(bound)})"
            )
