"""Where a batch fits: the data before anything else is looked at, everything else after the analysis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hwloop.simulator.activity import TileActivity
from hwloop.simulator.cost import needed_capacity
from hwloop.simulator.density import Ints
from hwloop.simulator.numeric import Number
from hwloop.simulator.sparse.context import SparseContext
from hwloop.simulator.sparse.spaces import Space

Bools = NDArray[np.bool_]


def data_fits(context: SparseContext, bounds: Sequence[Sequence[Number]], keep: Sequence[Sequence[bool]]) -> Bools:
    """Where every level has room for the data of its tiles at their fullest; where results wait, for finished values.

    Args:
        context: from `prepare`.
        bounds: `bounds[level][dimension]` iterations of a tile, arrays `(batch,)`.
        keep: `keep[level][data space]`.
    """
    compiled = context.compiled
    good: Bools = np.ones(np.shape(bounds[0][0]), np.bool_)
    for index, level in enumerate(compiled.levels):
        if level.capacity is None:
            continue
        mold = np.stack([np.broadcast_to(b, good.shape) for b in bounds[index]])
        tiles = [TileActivity() for _ in compiled.spaces]
        for s, space in enumerate(context.spaces):
            if keep[index][s]:
                extents = space.extents(mold)
                full, outermost = context.formats[index][s] is not None, not any(row[s] for row in keep[:index])
                finished = context.finished[s]
                if finished is not None and finished.level == index and outermost:
                    space = finished.space
                tiles[s].capacity = _fullest(space, extents) if full else extents.prod(axis=0)
                tiles[s].waits = level.waiting[s] is not None and outermost
        good &= sum(needed_capacity(level, tiles)) <= level.capacity
    return good


def _fullest(space: Space, extents: Ints) -> Ints:
    return space.models[0].most_occupancy(np.stack(space.keys(extents), axis=1))
