"""How often an access is saved: the leader tile that decides over a follower's tile, and the chance that it is empty.

MICRO 2022 section 5.3.4: where a level gates or skips accesses to a *follower* (the target) on a *leader* (the data space it is
conditioned on), the access is saved when the leader's tile is empty. Which tile that is follows from the nest: the leader's
values that meet the follower's tile while it stays where it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwloop.simulator.sparse.nesting import Nesting, pick
from hwloop.simulator.sparse.spaces import Space

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Follower:
    """The follower's tile and the loops over which it stays.

    Attributes:
        mold: `(dimension, batch)` iterations of the follower's tile.
        leader_mold: likewise of the leader's, before loops that both share are taken out.
        dimension: `(batch,)` dimension of the loop at which the follower's tile changes.
        position: `(batch,)` its position.
        spatial: `(batch,)` whether that loop is spatial.
        within: `(position, batch)` the loops counted into the leader's tile, that loop among them.
        scalar: whether the follower's tile is a single value.
    """

    mold: Ints
    leader_mold: Ints
    dimension: Ints
    position: Ints
    spatial: Bools
    within: Bools
    scalar: bool


def follower(space: Space, nesting: Nesting, start: int, stop: int, innermost: bool) -> Follower:
    """Finds the follower's tile.

    Args:
        space: the follower.
        nesting: the loops.
        start: one past the outermost position of the level that gets the follower's tile, 0 when that is the compute level.
        stop: one past the outermost position of the level that sends it.
        innermost: whether it is the compute level, where nothing stays.
    """
    layout, batch = nesting.layout, nesting.batch
    changing = space.relevant[nesting.dims] & (nesting.bounds > 1)
    index = np.arange(layout.count)[:, None]
    scalar = False
    if innermost:
        spatial_here = int(np.argmin(layout.spatial))  # spatial loops of the innermost level, inside its temporal ones
        scalar = spatial_here == 0
        if scalar:
            position = np.zeros(batch, np.int64)
        else:
            among = changing[:spatial_here].copy()
            among[-1] = True
            position = np.argmax(among, axis=0)
    else:
        among = changing[start:stop]
        position = np.where(among.any(axis=0), np.argmax(among, axis=0) + start, stop - 1)
    spatial = layout.spatial[position]
    mold = np.ones((layout.dimensions, batch), np.int64) if scalar else nesting.mold_at(position)
    above = (index > position) & (index < stop) & (nesting.bounds > 1)
    joined = above & layout.spatial[:, None]
    if not innermost:
        # A tile spread in space stays until a temporal loop changes it; so do the leader's values under the loops between.
        moves = above & changing & ~layout.spatial[:, None]
        until = np.where(moves.any(axis=0), np.argmax(moves, axis=0), layout.count)
        joined |= above & ~layout.spatial[:, None] & spatial & (index < until)
    leader = mold.copy()
    _multiply(leader, nesting, joined)
    dimension = pick(nesting.dims, position)
    return Follower(mold, leader, dimension, position, spatial, joined | (index == position), scalar)


def leader_tile(found: Follower, space: Space, leader: Space, nesting: Nesting, block_size: int) -> tuple[Ints, Bools]:
    """The leader's tile for a follower.

    Args:
        found: the follower's tile.
        space: the follower.
        leader: the leader.
        nesting: the loops.
        block_size: words in a vector of the level that sends the follower: the least that one decision is about.

    Returns:
        `(rank, batch)` extents of the leader's tile, and `(batch,)` where nothing is saved because the leader would have to be
        walked through in another order than it is stored in.
    """
    dimensions = nesting.layout.dimensions
    shared = space.relevant & leader.relevant
    mold = found.leader_mold
    nothing = np.zeros(nesting.batch, np.bool_)
    scaling = np.full(nesting.batch, float(block_size))
    if not found.scalar:
        both = found.within & shared[nesting.dims]
        first = np.where(both.any(axis=0), np.argmax(both, axis=0), nesting.layout.count)
        index = np.arange(nesting.layout.count)[:, None]
        nothing = found.spatial & (found.within & leader.relevant[nesting.dims] & (index > first)).any(axis=0)
        common = np.ones_like(mold)
        _multiply(common, nesting, both)
        present = np.zeros(mold.shape, np.bool_)
        at, mapping = np.nonzero(both)
        present[nesting.dims[at, mapping], mapping] = True
        total = np.ones(nesting.batch)
        for d in np.flatnonzero(shared):
            total = total * common[d]
        scaling = np.ceil(block_size / (space.size(found.mold) / total))
        mold = mold.copy()
        for d in np.flatnonzero(shared):
            effective = common[d] / scaling
            mold[d] = np.where(present[d], np.ceil(mold[d] / effective), mold[d])
            scaling = np.where(present[d], scaling / common[d], scaling)
    along = (np.arange(dimensions)[:, None] == found.dimension) & (scaling > 1)
    mold = np.where(along, np.floor(mold * scaling), mold).astype(np.int64)
    return leader.extents(mold), nothing


def _multiply(molds: Ints, nesting: Nesting, chosen: Bools) -> None:
    """Multiplies the chosen loops `(position, batch)` into `(dimension, batch)`, in place."""
    at, mapping = np.nonzero(chosen & (nesting.bounds > 1))
    np.multiply.at(molds, (nesting.dims[at, mapping], mapping), nesting.bounds[at, mapping])
