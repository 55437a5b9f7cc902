"""Imperfect factors: walks the loop nest as Timeloop 3 does, because tiles of unequal size have no closed form.

Every temporal loop is run for its first pass, its second (which stands for the middle ones) and, where a loop inside it on the
same dimension is cut short in the last pass, its last. Of the children of an instance only the first is walked, the others are
its copies. Both are the real program's approximations; the numbers here are its numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hwloop.simulator.compiled import Compiled, CompiledSpace
from hwloop.simulator.nest import SPATIAL_X, TEMPORAL, Flags, Loop
from hwloop.simulator.reuse import Vector, group_hops, volume

Box = tuple[Vector, Vector]  # lowest corner, and one beyond the highest
Region = tuple[Box, ...]  # disjoint boxes


def _size(region: Region) -> int:
    return sum([volume(tuple([b - a for a, b in zip(low, high, strict=True)])) for low, high in region])


def _subtract(box: Box, other: Box) -> Region:
    """What of a box lies outside another, as slabs cut off rank by rank."""
    low, high = list(box[0]), list(box[1])
    ranks = range(len(low))
    if any(high[r] <= other[0][r] or other[1][r] <= low[r] for r in ranks):
        return (box,)
    out: list[Box] = []
    for r in ranks:
        if low[r] < other[0][r]:
            out.append((tuple(low), (*high[:r], other[0][r], *high[r + 1 :])))
            low[r] = other[0][r]
        if other[1][r] < high[r]:
            out.append(((*low[:r], other[1][r], *low[r + 1 :]), tuple(high)))
            high[r] = other[1][r]
    return tuple(out)


def _move(before: Box, after: Box) -> Vector:
    """How the centre moved, halves away from zero."""
    out = []
    for a, b, c, d in zip(*before, *after, strict=True):
        twice = (c + d) - (a + b)
        out.append((abs(twice) + 1) // 2 * (1 if twice >= 0 else -1))
    return tuple(out)


def _shifted(region: Region, by: Vector) -> frozenset[Box]:
    return frozenset(
        (tuple([a + m for a, m in zip(low, by, strict=True)]), tuple([b + m for b, m in zip(high, by, strict=True)]))
        for low, high in region
    )


def _sum_moves(digits: tuple[int, ...], moves: list[Vector], ranks: int) -> Vector:
    return tuple([sum([k * move[r] for k, move in zip(digits, moves, strict=True)]) for r in range(ranks)])


@dataclass(slots=True)
class _State:
    """What a loop remembers, for each data space."""

    last: list[Box | None]
    pattern: list[Vector | None]
    largest: list[int]
    shares: list[dict[tuple[int, int], float]]
    links: list[float]
    hops: list[dict[tuple[int, int], float]]
    handed_out: list[dict[int, frozenset[Box]]] = field(default_factory=list)


class Walk:
    """One walk over a nest.

    Args:
        compiled: problem and architecture.
        loops: loops with a bound above 1, innermost first; some with a remainder.
        flags: reuse that the mapping forbids.
    """

    def __init__(self, compiled: Compiled, loops: list[Loop], flags: Flags) -> None:
        self.compiled, self.spaces, self.flags = compiled, compiled.spaces, flags
        self.loops = with_idle_loops(compiled, loops)
        count, dims, spaces = len(self.loops), len(compiled.bounds), len(compiled.spaces)
        self.index = [0] * count
        self.at = [0] * dims
        self.epochs = 1
        self.stride: list[int] = []
        self.high: list[list[int]] = []
        self.high_last: list[list[int]] = []
        cover, cover_last = [1] * dims, [1] * dims
        for loop in self.loops:
            self.stride.append(cover[loop.dimension])
            cover_last[loop.dimension] += cover[loop.dimension] * (loop.remainder - 1)
            cover[loop.dimension] *= loop.bound
            self.high.append([c - 1 for c in cover])
            self.high_last.append([c - 1 for c in cover_last])
        self.outer = [[j for j in range(i, count) if self.loops[j].dimension == d] for i in range(count + 1) for d in range(dims)]
        self.cut: dict[int, int] = {}  # by dimension, the innermost loop that is cut short
        for i in range(count - 1, -1, -1):
            if self.loops[i].bound != self.loops[i].remainder:
                self.cut[self.loops[i].dimension] = i
        self.states = [
            _State([None] * spaces, [None] * spaces, [0] * spaces, [{} for _ in self.spaces], [0.0] * spaces,
                   [{} for _ in self.spaces], [{} for _ in self.spaces])
            for _ in self.loops
        ]  # fmt: skip
        self.boundary = [i + 1 == count or self.loops[i + 1].level != self.loops[i].level for i in range(count)]
        self.master = [
            self.loops[i].axis != TEMPORAL and (i + 1 == count or self.loops[i + 1].axis == TEMPORAL) for i in range(count)
        ]
        self.computes: dict[int, int] = {}

    def _is_last(self, begin: int, dimension: int) -> bool:
        return all(self.index[j] + 1 >= self.loops[j].remainder for j in self.outer[begin * len(self.at) + dimension])

    def _end(self, i: int) -> int:
        loop = self.loops[i]
        return loop.remainder if self._is_last(i + 1, loop.dimension) else loop.bound

    def _box(self, i: int, space: CompiledSpace) -> Box:
        last = [self._is_last(i + 1, d) for d in range(len(self.at))]
        high = [a + (self.high_last[i][d] if last[d] else self.high[i][d]) for d, a in enumerate(self.at)]
        return (
            tuple([sum([c * self.at[d] for d, c in rank]) for rank in space.ranks]),
            tuple([1 + sum([c * high[d] for d, c in rank]) for rank in space.ranks]),
        )

    def run(self) -> None:
        """Walks the whole nest."""
        self._visit(len(self.loops) - 1)

    def _visit(self, i: int) -> list[Region]:
        """One visit of a loop and all inside it; returns what the tile of the loop needs that it did not hold, by data space."""
        state = self.states[i]
        if self.loops[i].axis == TEMPORAL:
            self._visit_in_time(i, state)
        else:
            self._visit_in_space(i, state)
        out: list[Region] = []
        for s, space in enumerate(self.spaces):
            box = self._box(i, space)
            if self.boundary[i] or self.master[i]:
                state.largest[s] = max(state.largest[s], _size((box,)))
            last = state.last[s]
            state.last[s] = box
            move = (0,) * len(space.ranks) if last is None else _move(last, box)
            if last is None or (self.loops[i].level, s) in self.flags.forgets:
                out.append((box,))
            elif not any(move):
                out.append(_subtract(box, last))
            elif state.pattern[s] is None or state.pattern[s] == move:
                state.pattern[s] = move
                out.append(_subtract(box, last))
            else:
                state.pattern[s] = None
                out.append((box,))
        return out

    def _visit_in_time(self, i: int, state: _State) -> None:
        loop, passes = self.loops[i], self._end(i)
        if i == 0:
            self.computes[0] = self.computes.get(0, 0) + passes * self.epochs
            for shares in state.shares:
                shares[1, 1] = shares.get((1, 1), 0) + passes * self.epochs
            return
        run_last = self.cut.get(loop.dimension, i) < i and self._is_last(i + 1, loop.dimension)
        run_second_last = run_last and loop.bound != loop.remainder
        saved = self.at[loop.dimension]
        found: list[tuple[list[Region], int]] = []
        self.index[i] = 0
        found.append((self._visit(i - 1), 1))
        self._step(i, 1)
        if passes >= (4 if run_second_last else 3 if run_last else 2):
            middle = passes - 1 - run_last - run_second_last
            self.epochs, epochs = self.epochs * middle, self.epochs
            found.append((self._visit(i - 1), middle))
            self.epochs = epochs
            self._step(i, middle)
        if run_second_last and passes >= 3:
            region = self._visit(i - 1)
            found.append((found.pop()[0], middle + 1) if passes >= 4 else (region, 1))
            self._step(i, 1)
        if run_last and passes >= 2:
            region = self._visit(i - 1)
            if not run_second_last and passes >= 3:
                before, times = found.pop()
                found.append((before, times + 1))
            else:
                found.append((region, 1))
            self._step(i, 1)
        self.at[loop.dimension] = saved
        if self.boundary[i - 1]:
            for s, shares in enumerate(state.shares):
                words = sum([_size(regions[s]) * times for regions, times in found])
                shares[1, 1] = shares.get((1, 1), 0) + words * self.epochs

    def _step(self, i: int, by: int) -> None:
        self.at[self.loops[i].dimension] += self.stride[i] * by
        self.index[i] += by

    def _visit_in_space(self, i: int, state: _State) -> None:
        inner = i
        while inner > 0 and self.loops[inner - 1].axis != TEMPORAL:
            inner -= 1
        chain = list(range(i, inner - 1, -1))
        ends = []
        for j in chain:
            self.index[j] = 0
            ends.append(self._end(j))
        first = self._points() if inner == 0 else self._visit(inner - 1)
        ids: list[tuple[int, tuple[int, ...]]] = [(0, ())]
        for end in ends:
            ids = [(n * end + k, (*digits, k)) for n, digits in ids for k in range(end)]
        if inner == 0:
            for n, _ in ids:
                self.computes[n] = self.computes.get(n, 0) + self.epochs
        for s, space in enumerate(self.spaces):
            moves = [
                tuple([sum([c * self.stride[j] for d, c in rank if d == self.loops[j].dimension]) for rank in space.ranks])
                for j in chain
            ]
            size = _size(first[s])
            children = {n: _shifted(first[s], _sum_moves(digits, moves, len(space.ranks))) for n, digits in ids}
            self._send(i, chain, state, s, size, children)
        self.index[i] = 0

    def _points(self) -> list[Region]:
        out: list[Region] = []
        for space in self.spaces:
            low = tuple([sum([c * self.at[d] for d, c in rank]) for rank in space.ranks])
            out.append(((low, tuple([x + 1 for x in low])),))
        return out

    def _send(self, i: int, chain: list[int], state: _State, s: int, size: int, children: dict[int, frozenset[Box]]) -> None:
        """Counts what goes to the children in this step, by multicast or, if that is less, partly over links."""
        mesh = self.compiled.fanout[self.loops[i].level]
        used = [1, 1]
        for j in chain:
            used[0 if self.loops[j].axis == SPATIAL_X else 1] *= self.loops[j].bound
        width, height = max(mesh[0], used[0]), max(mesh[1], used[1])
        before, state.handed_out[s] = state.handed_out[s], children
        if not size:
            return
        level = self.loops[i].level
        apart = (level, s) in self.flags.apart
        linked = set()
        for n, own in {} if (level, s) in self.flags.unlinked else children.items():
            h, v = n % width, n // width
            around = [n - width] * (v > 0) + [n + width] * (v < height - 1) + [n - 1] * (h > 0) + [n + 1] * (h < width - 1)
            if any(before.get(m) == own for m in around):
                linked.add(n)
        groups = _groups(children, set(), apart)
        if linked:
            rest = _groups(children, linked, apart)
            if len(rest) < len(groups):
                groups = rest
                state.links[s] += len(linked) * size * self.epochs
        by_share: dict[int, list[list[int]]] = {}
        for members in groups:
            by_share.setdefault(len(members), []).append(members)
        shares, hops = state.shares[s], state.hops[s]
        for share, those in by_share.items():
            key = share, len(those)
            shares[key] = shares.get(key, 0) + len(those) * size * self.epochs
            if self.compiled.counts_hops:
                each = sum([group_hops(members, width, height) for members in those])
                hops[key] = hops.get(key, 0.0) + each * size * self.epochs


def _groups(children: dict[int, frozenset[Box]], without: set[int], apart: bool) -> list[list[int]]:
    """Children that get the same data."""
    same: dict[object, list[int]] = {}
    for n, own in children.items():
        if n not in without:
            same.setdefault(n if apart else own, []).append(n)
    return list(same.values())


def with_idle_loops(compiled: Compiled, loops: list[Loop]) -> list[Loop]:
    """The loops, with a loop of one pass on the last dimension in every level that has no temporal one."""
    out: list[Loop] = []
    idle = len(compiled.bounds) - 1
    for level in range(len(compiled.levels) - 1, -1, -1):
        own = [loop for loop in loops if loop.level == level]
        out += own
        if not any(loop.axis == TEMPORAL for loop in own):
            out.append(Loop(level, TEMPORAL, idle, 1, 1))
    return out
