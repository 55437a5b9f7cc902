"""The complete loop nest of a batch of mappings as arrays, trivial loops included.

Trivial loops matter here: ranks are scaled on the first loop of a dimension, and the innermost loop names the dimension along
which a vector lies. Positions run from the innermost loop outwards; a level with a fan-out has a spatial loop of every dimension
inside its temporal ones. That layout is the same for every mapping, only dimensions and bounds differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.simulator.nest import SPATIAL_X, SPATIAL_Y, TEMPORAL, Nest

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Layout:
    """What is the same for all mappings of a problem on an architecture.

    Attributes:
        dimensions: how many there are.
        fanned: per level (outermost first), whether it has a fan-out, and so spatial loops.
        start: per level, its innermost position; `start[level - 1]` is one past its outermost one.
        spatial: per position, whether the loop is spatial.
        is_spatial: the same for one mapping.
        count: positions in all.
    """

    dimensions: int
    fanned: tuple[bool, ...]
    start: tuple[int, ...]
    spatial: NDArray[np.bool_]
    is_spatial: tuple[bool, ...]
    count: int

    @classmethod
    def of(cls, dimensions: int, fanned: tuple[bool, ...]) -> Layout:
        """The layout for this many dimensions and these levels."""
        start: list[int] = [0] * len(fanned)
        spatial: list[bool] = []
        for level in range(len(fanned) - 1, -1, -1):
            start[level] = len(spatial)
            spatial += [True] * (dimensions if fanned[level] else 0) + [False] * dimensions
        return cls(dimensions, fanned, tuple(start), np.array(spatial), tuple(spatial), len(spatial))

    def stop(self, level: int) -> int:
        """One past the outermost position of a level."""
        return self.count if level == 0 else self.start[level - 1]


@dataclass(frozen=True)
class Nesting:
    """The loops of a batch.

    Attributes:
        layout: the positions.
        dims: `(position, batch)` dimension indices.
        bounds: `(position, batch)` passes.
        axes: `(position, batch)` axis of a spatial loop, X or Y; temporal ones as such.
        molds: `(position + 1, dimension, batch)`: iterations of each dimension inside position p; `molds[p + 1]` counts p in.
    """

    layout: Layout
    dims: Ints
    bounds: Ints
    axes: Ints
    molds: Ints

    @property
    def batch(self) -> int:
        """Number of mappings."""
        return int(self.dims.shape[1])

    def mold_at(self, position: Ints) -> Ints:
        """`(dimension, batch)`: iterations inside and including the loop at `position` `(batch,)`; -1 is one iteration."""
        return pick(self.molds, position + 1)


def pick(array: Ints, index: Ints) -> Ints:
    """`array[index[b], ..., b]` for every mapping b: `(..., batch)`."""
    if len(index) == 1:  # far from free on arrays
        alone: Ints = array[int(index[0])]
        return alone
    within = np.arange(array[0].size).reshape(array.shape[1:])
    chosen: Ints = array.reshape(-1).take(index * within.size + within, mode="clip")  # far faster than take_along_axis
    return chosen


def molds_of(dims: Ints, bounds: Ints, dimensions: int) -> Ints:
    """`(position + 1, dimension, batch)`: the product of the bounds inside each position, by dimension."""
    count, batch = dims.shape
    out = np.empty((count + 1, dimensions, batch), np.int64)
    out[0] = 1
    rows = np.arange(batch)
    if batch == 1:  # few numbers: one call for all positions
        out[1:] = 1
        out[np.arange(1, count + 1), dims[:, 0], 0] = bounds[:, 0]
        return np.multiply.accumulate(out, axis=0)
    for position in range(count):
        out[position + 1] = out[position]
        bound = bounds[position]
        if (bound != 1).any():
            out[position + 1, dims[position], rows] *= bound
    return out


def nesting_of_batch(layout: Layout, nest: Nest) -> Nesting:
    """The complete nest of every mapping of a batch: `nest.factors`, `nest.order` and, if given, `nest.spatial_order`.

    Without a spatial order the loops on X come first, each axis in the shape's order.
    """
    factors: Any = nest.factors
    order: Any = nest.order
    spatial_order: Any = getattr(nest, "spatial_order", None)
    batch = factors.shape[-1]
    dims = np.empty((layout.count, batch), np.int64)
    bounds = np.empty_like(dims)
    axes = np.zeros_like(dims)
    for level in range(len(layout.fanned)):
        at = layout.start[level]
        if layout.fanned[level]:
            x, y = factors[level, SPATIAL_X], factors[level, SPATIAL_Y]
            if spatial_order is None:
                sequence = np.argsort((y > 1).astype(np.int8), axis=0, kind="stable")
            else:
                sequence = np.asarray(spatial_order[level], np.int64)
            stop = at + layout.dimensions
            dims[at:stop] = sequence
            bounds[at:stop] = np.take_along_axis(x * y, sequence, axis=0)
            axes[at:stop] = np.where(np.take_along_axis(y > 1, sequence, axis=0), SPATIAL_Y, SPATIAL_X)
            at = stop
        sequence = np.asarray(order[level], np.int64)
        dims[at : at + layout.dimensions] = sequence
        bounds[at : at + layout.dimensions] = np.take_along_axis(factors[level, TEMPORAL], sequence, axis=0)
    return Nesting(layout, dims, bounds, axes, molds_of(dims, bounds, layout.dimensions))
