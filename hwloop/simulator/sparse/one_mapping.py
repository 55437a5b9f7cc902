"""One mapping's loops in Python's numbers, with what `ranks` and `leaders` work out for a batch.

Those two say what is done and why; here it is done for a single mapping, because a call of numpy on an array of one number costs
as much as ten of Python's. Tests hold the two forms against each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hwloop.simulator.formats import Rank
from hwloop.simulator.nest import SPATIAL_X, SPATIAL_Y, TEMPORAL
from hwloop.simulator.sparse.nesting import Layout, Nesting, molds_of
from hwloop.simulator.sparse.ranks import Trees
from hwloop.simulator.sparse.spaces import Space, Vector
from hwloop.spec.loops import complete_permutation, spatial_sequence
from hwloop.spec.mapping import Mapping


@dataclass(frozen=True, slots=True)
class MappingLoops:
    """The loops of one mapping, trivial ones included, innermost first; see `Nesting`.

    Attributes:
        layout: the positions.
        dims: by position, the dimension's index.
        bounds: by position, passes.
        axes: by position, the axis.
        molds: by position p (and one more), iterations of each dimension inside p.
        busy: positions with more than one pass, ascending.
    """

    layout: Layout
    dims: list[int]
    bounds: list[int]
    axes: list[int]
    molds: list[Vector]
    busy: list[int]

    def arrays(self) -> Nesting:
        """The same as a batch of one."""
        dims, bounds, axes = (np.array(values, np.int64)[:, None] for values in (self.dims, self.bounds, self.axes))
        return Nesting(self.layout, dims, bounds, axes, molds_of(dims, bounds, self.layout.dimensions))


@lru_cache(maxsize=4096)
def _order(permutation: tuple[str, ...], dimensions: tuple[str, ...]) -> tuple[int, ...]:
    index = {d: i for i, d in enumerate(dimensions)}
    return tuple(index[d] for d in complete_permutation(permutation, dimensions))


def loops_of_mapping(
    layout: Layout, mapping: Mapping, levels: tuple[str, ...], dimensions: tuple[str, ...], sizes: tuple[int, ...]
) -> MappingLoops:
    """The complete nest of one mapping.

    Args:
        layout: of the problem on the architecture.
        mapping: already checked by the nest analysis.
        levels: names of the storage levels, outermost first.
        dimensions: names.
        sizes: their sizes, for bounds written as 0.
    """
    index = {d: i for i, d in enumerate(dimensions)}
    dims: list[int] = []
    bounds: list[int] = []
    axes: list[int] = []
    targets = {(entry.target, entry.kind): entry for entry in mapping.loops}
    for level in range(len(levels) - 1, -1, -1):
        for kind in ("spatial", "temporal") if layout.fanned[level] else ("temporal",):
            entry = targets.get((levels[level], kind))
            order = _order(entry.permutation if entry else (), dimensions)
            factors = [1] * len(dimensions)
            split = len(order)
            if entry is not None:
                for name, bound, _ in entry.factors:
                    factors[index[name]] = bound or sizes[index[name]]
                split = len(order) if entry.split is None else entry.split
            if kind == "temporal":
                axes += [TEMPORAL] * len(order)
            else:
                order, on_x = spatial_sequence(order, split, [d for d, bound in enumerate(factors) if bound > 1])
                axes += [SPATIAL_X] * on_x + [SPATIAL_Y] * (len(order) - on_x)
            dims += order
            bounds += [factors[d] for d in order]
    return MappingLoops(
        layout, dims, bounds, axes, _molds(dims, bounds, len(dimensions)), [p for p, b in enumerate(bounds) if b > 1]
    )


def _molds(dims: list[int], bounds: list[int], dimensions: int) -> list[Vector]:
    """The product of the bounds inside each position, by dimension; one more than there are positions."""
    mold = (1,) * dimensions
    out = [mold]
    for d, bound in zip(dims, bounds, strict=True):
        if bound != 1:
            mold = (*mold[:d], mold[d] * bound, *mold[d + 1 :])
        out.append(mold)
    return out


@dataclass(frozen=True, slots=True)
class OneFollower:
    """`leaders.Follower` of one mapping; `within` are the positions of its loops, ascending."""

    mold: Vector
    leader_mold: Vector
    dimension: int
    spatial: bool
    within: list[int]
    scalar: bool


def one_follower(space: Space, loops: MappingLoops, start: int, stop: int, innermost: bool) -> OneFollower:
    """`leaders.follower` of one mapping."""
    spatial, dims, changes = loops.layout.is_spatial, loops.dims, space.dimensions
    scalar = False
    if innermost:
        inside = spatial.index(False)
        scalar = inside == 0
        position = next((p for p in loops.busy if p < inside and dims[p] in changes), max(inside - 1, 0))
    else:
        position = next((p for p in loops.busy if start <= p < stop and dims[p] in changes), stop - 1)
    mold = loops.molds[0] if scalar else loops.molds[position + 1]
    here = spatial[position]
    above = [p for p in loops.busy if position < p < stop]
    until = 0
    if here and not innermost:
        until = next((p for p in above if dims[p] in changes and not spatial[p]), loops.layout.count)
    joined = [p for p in above if spatial[p] or p < until]
    leader = list(mold)
    for p in joined:
        leader[dims[p]] *= loops.bounds[p]
    return OneFollower(mold, tuple(leader), dims[position], here, [position, *joined], scalar)


def one_leader_tile(found: OneFollower, space: Space, leader: Space, loops: MappingLoops, block_size: int) -> tuple[Vector, bool]:
    """`leaders.leader_tile` of one mapping: the extents of the leader's tile, and whether nothing is saved."""
    dims, bounds = loops.dims, loops.bounds
    mold = list(found.leader_mold)
    nothing = False
    scaling = float(block_size)
    if not found.scalar:
        shared = space.dimensions & leader.dimensions
        both = [p for p in found.within if dims[p] in shared]
        first = both[0] if both else loops.layout.count
        nothing = found.spatial and any(p > first and dims[p] in leader.dimensions for p in found.within)
        common = dict.fromkeys(sorted({dims[p] for p in both}), 1)
        for p in both:
            common[dims[p]] *= bounds[p]
        total = 1.0
        for count in common.values():
            total *= count
        scaling = float(math.ceil(block_size / (space.size(found.mold) / total)))
        for d, count in common.items():
            mold[d] = math.ceil(mold[d] / (count / scaling))
            scaling /= count
    if scaling > 1:
        mold[found.dimension] = math.floor(mold[found.dimension] * scaling)
    return leader.extents(tuple(mold)), nothing


class _Left:
    """`ranks._Loops` of one mapping: the data space's nontrivial loops that no rank has taken yet."""

    def __init__(self, space: Space, loops: MappingLoops, start: int, stop: int, fold: bool) -> None:
        self.space, self.dims, self.molds = space, loops.dims, loops.molds
        self.start, self.stop = start, stop
        self.products = loops.molds
        relevant = space.dimensions
        if fold:
            base = loops.molds[start]
            dims, bounds = loops.dims[start:stop], loops.bounds[start:stop]
            for i, d in enumerate(dims[: len(base)]):  # every dimension once
                bounds[i] *= base[d]
            self.products = [*loops.molds[:start], *_molds(dims, bounds, len(base))]
            self.left = [start + i for i, d in enumerate(dims) if bounds[i] > 1 and d in relevant]
        else:
            self.left = [p for p in loops.busy if start <= p < stop and loops.dims[p] in relevant]
        first = next((p for p in range(start, stop) if loops.dims[p] in relevant), start)
        self.lowest = self.tile(first)

    def allowed(self, rank: Rank, at: int) -> tuple[bool, frozenset[int] | None]:
        """Whether a rank may take the loop at a position, and which dimensions it may flatten with it (None: no other)."""
        if not rank.groups:
            return True, None
        if self.space.dimensions <= rank.groups[0]:
            return True, rank.groups[0]
        group = next((group for group in rank.groups if self.dims[at] in group), None)
        return group is not None, group

    def shape(self, low: int, high: int) -> int:
        """Size of a fiber over the loops at positions low .. high (inclusive)."""
        return self.space.size(tuple([a // b for a, b in zip(self.products[high + 1], self.products[low], strict=True)]))

    def tile(self, at: int) -> Vector:
        """Extents of the tile inside and including the loop at a position."""
        return self.space.extents(self.molds[at + 1])


def one_plain_tree(space: Space, loops: MappingLoops, stop: int) -> Trees:
    """`ranks.plain_tree` of one mapping."""
    mold = loops.molds[stop]
    return Trees([space.size(mold)], [(1,) * len(space.ranks), space.extents(mold)], False)


def one_format_trees(
    space: Space, ranks: tuple[Rank, ...], outer_to_inner: bool, loops: MappingLoops, start: int, stop: int, child: Trees | None
) -> Trees:
    """`ranks.format_trees` of one mapping."""
    rest = _Left(space, loops, start, stop, fold=child is None)
    own = list(ranks[len(child.shapes) if child else 0 :])
    shapes, tiles = _inwards(rest, own) if outer_to_inner else _outwards(rest, own)
    if child is None:
        return Trees(shapes, [(1,) * len(space.ranks), *tiles], bool(rest.left))
    return Trees([*child.shapes, *shapes], [*child.parts, *tiles], bool(rest.left))


def _inwards(rest: _Left, ranks: list[Rank]) -> tuple[list[int], list[Vector]]:
    taken: list[tuple[int, Vector]] = []
    passed: list[tuple[int, Vector]] = []
    for rank in reversed(ranks):
        if not rest.left:
            taken.append((1, rest.lowest))
            continue
        at = rest.left[-1]
        allowed, group = rest.allowed(rank, at)
        if not allowed:
            passed.append((1, rest.lowest))
            continue
        low = at
        if group is not None:
            barred = [p for p in rest.left if rest.dims[p] not in group]
            low = barred[-1] + 1 if barred else rest.start
        taken.append((rest.shape(low, at), rest.tile(at)))
        rest.left = [p for p in rest.left if p < low]
    entries = [*reversed(taken), *passed]  # innermost first; of those passed over the last is outermost
    return [shape for shape, _ in entries], [tile for _, tile in entries]


def _outwards(rest: _Left, ranks: list[Rank]) -> tuple[list[int], list[Vector]]:
    shapes: list[int] = []
    tiles: list[Vector] = []
    for rank in ranks:
        at = rest.left[0] if rest.left else -1
        allowed, group = rest.allowed(rank, at) if rest.left else (False, None)
        if not allowed:
            shapes.append(1)
            tiles.append((1,) * len(rest.space.ranks) if rest.left else rest.lowest)
            continue
        high = at
        if group is not None:
            barred = [p for p in rest.left if rest.dims[p] not in group]
            high = barred[0] - 1 if barred else rest.stop - 1
        shapes.append(rest.shape(at, high))
        tiles.append(rest.tile(at))
        rest.left = [p for p in rest.left if p > high]
    return shapes, tiles
