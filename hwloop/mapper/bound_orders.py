"""What the loop orders of a level can spare: by case, which loops reload no tile and which loops may be there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from hwloop.mapper.bound_terms import Rests
from hwloop.mapper.mapspace import Mapspace
from hwloop.simulator.compiled import Compiled

Dims = frozenset[int]


@dataclass(frozen=True)
class OrderCase:
    """All orders of one level's temporal loops that have something in common.

    Attributes:
        allowed: dimensions that may have more than one pass.
        moves: data spaces, by index, that some allowed loop moves; loops of levels further out may spare the others.
        free: by data space, the dimensions whose loops do not reload its tile.
        rest: the dimensions whose loops stand inside all others.
    """

    allowed: Dims
    moves: frozenset[int]
    free: tuple[Dims, ...]
    rest: Dims


Cases = dict[int, OrderCase | None]


def order_cases(space: Mapspace, compiled: Compiled, level: int) -> list[OrderCase]:
    """Cases that together hold every order of a level's temporal loops; none where the level has no such loops.

    Of the loops that reload nothing the outermost belongs to the data space that rests longest; any other data space rests at
    most on those of them that do not index it either.
    """
    loops = frozenset(
        d for s in space.slots if s.level == level and not s.spatial for d, high in enumerate(s.high)
        if high > 1 and compiled.bounds[d] > 1
    )  # fmt: skip
    if not loops:
        return []
    spaces = range(len(compiled.spaces))
    indexed = [s.dimensions for s in compiled.spaces]
    cases = []
    for n in spaces:
        for still in combinations(spaces, n):
            allowed = loops - frozenset().union(*(indexed[s] for s in still))
            for longest in spaces:
                for rest, left in _resting(space.orders[level].first, indexed[longest], allowed):
                    moves = frozenset(s for s in spaces if left & indexed[s])
                    cases.append(OrderCase(left, moves, tuple(rest - indexed[s] for s in spaces), rest))
    inner = [any(row[s] != 0 for row in space.keep[level + 1 :]) or feeds_many(space) for s in spaces]
    return _undominated(cases, [s for s in spaces if inner[s]])


def feeds_many(space: Mapspace) -> bool:
    """Whether the innermost level itself spreads over compute units, which then pass operands among themselves."""
    return any(s.spatial and s.level == len(space.keep) - 1 for s in space.slots)


def _resting(first: tuple[int, ...], indexed: Dims, allowed: Dims) -> Iterator[tuple[Dims, Dims]]:
    """Loops that reload nothing, and which may be there, given the loops that a constraint puts innermost."""
    other = allowed - indexed
    early = set()
    for d in first:
        if d in other:
            early.add(d)
        elif d in allowed:
            break
    if not allowed & indexed & set(first) or not other - early:
        yield other, allowed
        return
    yield other, allowed - (indexed & set(first))
    yield other & set(first), allowed


def _undominated(cases: list[OrderCase], spaces: list[int]) -> list[OrderCase]:
    """The cases that no other allows and spares as much as."""
    out: list[OrderCase] = []
    for case in sorted(dict.fromkeys(cases), key=lambda c: -len(c.allowed)):
        if not any(_dominates(other, case, spaces) for other in out):
            out = [other for other in out if not _dominates(case, other, spaces)]
            out.append(case)
    return out


def _dominates(a: OrderCase, b: OrderCase, spaces: list[int]) -> bool:
    def spared(case: OrderCase, s: int) -> Dims:
        return case.free[s] if s in case.moves else case.allowed

    return a.allowed >= b.allowed and all((s not in a.moves or s in b.moves) and spared(a, s) >= spared(b, s) for s in spaces)


@dataclass(frozen=True)
class Halo:
    """What is decided of the halo of a tile.

    Attributes:
        lead: the dimension of the innermost loop that moves the tile, -1 where that keeps no halo.
        twins: which other loops may move the tile in the same way: None while open, `ALL`, those of the lead's own level
            (`LEVEL`), or those of them that a constraint puts innermost (`FIRST`).
    """

    lead: int
    twins: int | None = None


ALL, LEVEL, FIRST = 2, 1, 0


def rests(space: Mapspace, cases: Cases, level: int, s: int, halo: Halo | None) -> Rests:
    """What the orders leave of the traffic into the tiles of a level.

    Args:
        space: the mapspace.
        cases: by level, the case of its loops; None where it is open, so that its loops may spare everything.
        level: the level; the number of levels for the compute units.
        s: the data space, by index.
        halo: what is decided of the halo, None while open.
    """
    free: set[tuple[int, int]] = set()
    for i, slot in enumerate(space.slots):
        if slot.spatial or slot.level >= level:
            continue
        case = cases.get(slot.level)
        still = case is None or s not in case.moves
        free |= {(d, i) for d in (range(len(slot.low)) if case is None or still else case.free[s])}
        if not still:
            break
    first = first_moving(space, cases, level, s)
    at = None if first is None else next(i for i, slot in enumerate(space.slots) if slot.level == first and not slot.spatial)
    if halo is None:
        return Rests(frozenset(free), None, at)
    twins = None
    if at is not None and halo.twins in (LEVEL, FIRST):
        dims = space.orders[space.slots[at].level].first if halo.twins == FIRST else range(len(space.problem.bounds))
        twins = frozenset((d, at) for d in dims)
    return Rests(frozenset(free), halo.lead, at, twins)


def first_moving(space: Mapspace, cases: Cases, level: int, s: int) -> int | None:
    """The next level outward whose loops move the tile; None where that is open or none does."""
    for slot in space.slots:
        if not slot.spatial and slot.level < level and slot.level in cases:
            case = cases[slot.level]
            if case is None:
                return None
            if s in case.moves:
                return slot.level
    return None


def barred(case: OrderCase, compiled: Compiled, s: int, lead: int) -> Dims:
    """Dimensions that cannot have loops at the level of a case where the loop on `lead` is the innermost that moves a tile."""
    inner = case.rest & compiled.spaces[s].dimensions
    return frozenset() if lead in inner else inner


def apart(compiled: Compiled, s: int, lead: int) -> Dims:
    """Dimensions that move a tile along other ranks: no step of a loop outside theirs moves it as the lead does."""
    ranks = [{d for d, _ in rank} for rank in compiled.spaces[s].ranks]
    own = set().union(*(rank for rank in ranks if lead in rank))
    return frozenset().union(*(rank for rank in ranks if not rank & own))


def unshared(space: Mapspace, compiled: Compiled, level: int, s: int, halo: Halo) -> Dims:
    """Dimensions that have no loops at the lead's level, by what is decided of loops that move a tile as the lead does."""
    if halo.lead < 0 or halo.twins not in (ALL, LEVEL):
        return frozenset()
    others = apart(compiled, s, halo.lead)
    return others if halo.twins == ALL else others & frozenset(space.orders[level].first)
