"""Where a batch fits: the data before anything else is looked at, everything else after the analysis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hwloop.simulator.activity import Activity, TileActivity
from hwloop.simulator.compiled import Compiled
from hwloop.simulator.cost import needed_capacity
from hwloop.simulator.density import Ints
from hwloop.simulator.numeric import Number
from hwloop.simulator.sparse.context import SparseContext
from hwloop.simulator.sparse.spaces import Space

Bools = NDArray[np.bool_]


def data_fits(context: SparseContext, bounds: Sequence[Sequence[Number]], keep: Sequence[Sequence[bool]]) -> Bools:
    """Where every level has room for the data of its tiles at their fullest.

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
                full = context.formats[index][s] is not None
                tiles[s].capacity = _fullest(space, extents) if full else extents.prod(axis=0)
        good &= sum(needed_capacity(level, tiles)) <= level.capacity
    return good


def _fullest(space: Space, extents: Ints) -> Ints:
    return space.models[0].most_occupancy(np.stack(space.keys(extents), axis=1))


def fits_activity(compiled: Compiled, activity: Activity) -> Bools:
    """Where the compute units' mesh, every level's mesh, its words and its metadata bits are not exceeded."""
    good: Bools = _mesh(
        activity.compute.x_expansion, activity.compute.y_expansion, compiled.compute_mesh, compiled.compute_instances
    )
    for level, tiles in zip(compiled.levels, activity.tiles, strict=True):
        for tile in tiles:
            good = good & _mesh(tile.x_expansion, tile.y_expansion, (level.mesh_x, level.mesh_y), level.instances)
        if level.capacity is None:
            continue
        used: Number = sum(needed_capacity(level, tiles))
        good = good & (used <= level.capacity) & (used >= level.min_capacity)
        if level.metadata_capacity_bits is not None:
            good = good & (sum(tile.metadata_capacity_bits for tile in tiles) <= level.metadata_capacity_bits)
    return good


def _mesh(x: Number, y: Number, mesh: tuple[int, int], instances: int) -> Bools:
    return np.asarray((x <= mesh[0]) & (y <= mesh[1]) & (x * y <= instances))
