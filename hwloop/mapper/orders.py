"""The loop orders that differ in cost.

Of all orders of a level's temporal loops only a few matter: which data space's tile rests (the loops that do not index it stand
innermost) and, where a window slides, along which dimension it slides first. Every other order costs
what one of these does, or more.
"""

from __future__ import annotations

from dataclasses import dataclass

from hwloop.mapper.mapspace import Mapspace
from hwloop.simulator.compiled import Compiled


@dataclass(frozen=True)
class OrderChoice:
    """One order of a level's temporal loops.

    Attributes:
        rests: the data space whose tile rests, by index.
        slides: the dimension that comes first among those that a window slides along, -1 when none does.
        order: dimension indices, innermost first.
    """

    rests: int
    slides: int
    order: tuple[int, ...]


def order_choices(space: Mapspace, compiled: Compiled) -> list[list[OrderChoice]]:
    """The orders worth trying at each level, as its constraint allows; one where that leaves nothing free."""
    return [_choices(space, compiled, level) for level in range(len(compiled.levels))]


def _choices(space: Mapspace, compiled: Compiled, level: int) -> list[OrderChoice]:
    rule = space.orders[level]
    free = [d for d in range(len(space.problem.bounds)) if d not in rule.first and d not in rule.last]
    sliding = {d for s in compiled.spaces for rank in s.ranks if len(rank) > 1 for d, _ in rank}
    out: list[OrderChoice] = []
    for g, resting in enumerate(compiled.spaces):
        inner = [d for d in free if d not in resting.dimensions]
        outer = [d for d in free if d in resting.dimensions]
        first = [d for d in inner if d in sliding] or [d for d in outer if d in sliding]
        for d in first or [-1]:
            ordered = (*_led_by(d, inner, sliding), *_led_by(d, outer, sliding))
            out.append(OrderChoice(g, d, (*rule.first, *ordered, *rule.last)))
    unique: dict[tuple[int, ...], OrderChoice] = {}
    for choice in out:
        unique.setdefault(choice.order, choice)
    return list(unique.values())


def _led_by(first: int, dims: list[int], sliding: set[int]) -> list[int]:
    """The dimensions with `first` in front, if it is among them, then those that windows slide along."""
    return sorted(dims, key=lambda d: (d != first, d not in sliding))
