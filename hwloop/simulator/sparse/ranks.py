"""Which loops belong to which rank of a format: the tree of fibers that a mapping makes of a tile.

A compressed tile is stored in the order in which it will be cut up, so its ranks follow the loops of the nest, and the ranks of
the level below are its innermost ones (MICRO 2022 section 5.3.3; "pre-tiling" in the real program). A rank takes one nontrivial
loop of the data space, or as many neighbouring ones as its flattening rule allows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.simulator.formats import Rank
from hwloop.simulator.numeric import Number
from hwloop.simulator.sparse.nesting import Nesting, molds_of, pick
from hwloop.simulator.sparse.spaces import Space

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass
class Trees:
    """The trees of fibers of one data space at one level, over a batch; numbers and tuples of one mapping.

    Attributes:
        shapes: per rank, innermost first, `(batch,)` coordinates of a fiber.
        parts: per rank the tile that a coordinate stands for, and last the whole tile: `(rank of the tensor, batch)` extents.
        unmapped: `(batch,)`, where nontrivial loops are left that no rank takes.
    """

    shapes: list[Any]
    parts: list[Any]
    unmapped: Number


def plain_tree(space: Space, nesting: Nesting, stop: int) -> Trees:
    """The tree of a tile without a format: one rank over everything up to position `stop`."""
    mold = nesting.molds[stop]
    batch = nesting.batch
    return Trees(
        [space.size(mold)], [np.ones((len(space.ranks), batch), np.int64), space.extents(mold)], np.zeros(batch, np.bool_)
    )


def format_trees(
    space: Space, ranks: tuple[Rank, ...], outer_to_inner: bool, nesting: Nesting, start: int, stop: int, child: Trees | None
) -> Trees:
    """Assigns the loops at positions [start, stop) to the ranks that the child level does not take.

    Args:
        space: the data space.
        ranks: of the level's format, innermost first.
        outer_to_inner: whether ranks are assigned from the outermost loop inwards.
        nesting: the loops.
        start: one past the child level's outermost position.
        stop: one past this level's outermost position.
        child: the child level's tree when its ranks are this format's innermost ones, else None: then the loops below `start`
            are folded into the first loop of their dimension.
    """
    loops = _Loops(space, nesting, start, stop, fold=child is None)
    own = list(range(len(child.shapes) if child else 0, len(ranks)))
    if outer_to_inner:
        shapes, tiles = _assign_inwards(loops, [ranks[r] for r in own])
    else:
        shapes, tiles = _assign_outwards(loops, [ranks[r] for r in own])
    scalar = np.ones((len(space.ranks), nesting.batch), np.int64)
    if child is None:
        return Trees(shapes, [scalar, *tiles], loops.left())
    return Trees([*child.shapes, *shapes], [*child.parts, *tiles], loops.left())


class _Loops:
    """The data space's nontrivial loops within a range of positions, and a cursor per mapping."""

    def __init__(self, space: Space, nesting: Nesting, start: int, stop: int, fold: bool) -> None:
        self.space, self.nesting, self.start = space, nesting, start
        self.dims = nesting.dims[start:stop]
        self.count = stop - start
        relevant = space.relevant[self.dims]
        bounds = nesting.bounds[start:stop]
        self.base = nesting.molds[start]
        if fold:
            bounds = bounds.copy()
            head = nesting.layout.dimensions  # every dimension once
            bounds[:head] *= np.take_along_axis(self.base, self.dims[:head], axis=0)
            self.products = molds_of(self.dims, bounds, nesting.layout.dimensions)
        else:
            self.products = nesting.molds[start : stop + 1]
        self.active = relevant & (bounds > 1)
        self.index = np.arange(self.count)[:, None]
        self.first_relevant = np.argmax(relevant, axis=0)
        self.rest: Bools = np.ones_like(self.active)

    def left(self) -> Bools:
        """Where nontrivial loops are left."""
        return np.asarray((self.active & self.rest).any(axis=0))

    def next(self, inwards: bool) -> tuple[Ints, Bools]:
        """Position of the next loop that is left (from the outside or the inside), and whether there is one."""
        mask = self.active & self.rest
        at = self.count - 1 - np.argmax(mask[::-1], axis=0) if inwards else np.argmax(mask, axis=0)
        return at, np.asarray(mask.any(axis=0))

    def allowed(self, rank: Rank, at: Ints) -> tuple[Bools, Bools | None]:
        """Whether a rank may take the loop at a position, and which loops it may flatten with it (None: no other)."""
        if not rank.groups:
            return np.ones(at.shape, np.bool_), None
        if any(all(d in group for d in np.flatnonzero(self.space.relevant)) for group in rank.groups[:1]):
            return np.ones(at.shape, np.bool_), self.active  # every loop of the data space will do
        dim = pick(self.dims, at)
        members = np.array([[d in group for d in range(self.nesting.layout.dimensions)] for group in rank.groups])
        inside = members[:, dim]
        chosen = np.argmax(inside, axis=0)
        return np.asarray(inside.any(axis=0)), members[chosen[None], self.dims]

    def shape(self, low: Ints, high: Ints) -> Ints:
        """Size of a fiber over the loops at positions low .. high (inclusive)."""
        return self.space.size(pick(self.products, high + 1) // pick(self.products, low))

    def tile(self, at: Ints) -> Ints:
        """Extents of the tile inside and including the loop at a position."""
        return self.space.extents(self.nesting.mold_at(at + self.start))


def _assign_inwards(loops: _Loops, ranks: list[Rank]) -> tuple[list[Ints], list[Ints]]:
    """From the outermost loop inwards; ranks that get no loop in the end are the innermost ones.

    A rank whose rule excludes the loop it is offered stays empty, and ends up outermost of all, as the real program has it.
    """
    entries: list[tuple[Ints, Ints, Bools]] = []
    lowest = loops.tile(loops.first_relevant)
    nothing = np.zeros(lowest.shape[1], np.bool_)
    for rank in reversed(ranks):
        at, found = loops.next(inwards=True)
        if not found.any():
            entries.append((np.ones_like(at), lowest, nothing))
            continue
        allowed, flatten = loops.allowed(rank, at)
        taken = found & allowed
        if flatten is None:
            low = at
        elif flatten is loops.active:
            low = np.zeros_like(at)
        else:  # everything inside, down to the first loop that the rule excludes
            barred = loops.active & ~flatten & (loops.index < at)
            low = np.where(barred.any(axis=0), loops.count - np.argmax(barred[::-1], axis=0), 0)
        loops.rest &= np.where(taken, loops.index < low, True)
        shape = np.where(taken, loops.shape(low, at), 1)
        entries.append((shape, np.where(taken, loops.tile(at), lowest), found & ~allowed))
    if any(entry[2].any() for entry in entries):
        entries = _reorder(entries)
    entries.reverse()
    return [entry[0] for entry in entries], [entry[1] for entry in entries]


def _reorder(entries: list[tuple[Ints, Ints, Bools]]) -> list[tuple[Ints, Ints, Bools]]:
    """Outermost first: the ranks passed over (the last of them outermost), then the others in their order."""
    passed = np.array([entry[2] for entry in entries])
    position = np.arange(len(entries))[:, None]
    order = np.argsort(np.where(passed, -1 - position, position), axis=0, kind="stable")
    shapes = np.take_along_axis(np.array([entry[0] for entry in entries]), order, axis=0)
    tiles = np.take_along_axis(np.array([entry[1] for entry in entries]), order[:, None], axis=0)
    passed = np.take_along_axis(passed, order, axis=0)
    return list(zip(shapes, tiles, passed, strict=True))


def _assign_outwards(loops: _Loops, ranks: list[Rank]) -> tuple[list[Ints], list[Ints]]:
    """From the innermost loop outwards; ranks that get no loop in the end are the outermost ones."""
    shapes: list[Ints] = []
    tiles: list[Ints] = []
    lowest = loops.tile(loops.first_relevant)
    for rank in ranks:
        at, found = loops.next(inwards=False)
        allowed, flatten = loops.allowed(rank, at)
        taken = found & allowed
        if flatten is None:
            high = at
        elif flatten is loops.active:
            high = np.full_like(at, loops.count - 1)
        else:
            barred = loops.active & ~flatten & (loops.index > at)
            high = np.where(barred.any(axis=0), np.argmax(barred, axis=0) - 1, loops.count - 1)
        loops.rest &= np.where(taken, loops.index > high, True)
        shapes.append(np.where(taken, loops.shape(at, high), 1))
        tiles.append(np.where(taken, loops.tile(at), np.where(found, 1, lowest)))
    return shapes, tiles
