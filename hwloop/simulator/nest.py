"""What the analysis of a loop nest yields: tiles, the traffic between them, and the compute they feed.

Two analyses fill these records, one for a single mapping (numbers) and one for a batch that shares what is kept where (arrays
`(batch,)`); everything after them (`sparse`, `cost`) is written once for both, through `hwloop.simulator.numeric`.

Levels are `architecture.storage`, outermost first; data spaces and dimensions are the shape's, in its order.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from hwloop.simulator.numeric import Number

TEMPORAL, SPATIAL_X, SPATIAL_Y = 0, 1, 2
_COUNTS = ("size", "partition_size", "reads", "fills", "updates", "temporal_reductions")


@dataclass(slots=True)
class Loop:
    """One loop of a nest.

    Attributes:
        level: index of the storage level it belongs to.
        axis: `TEMPORAL`, `SPATIAL_X` or `SPATIAL_Y`.
        dimension: index of the dimension.
        bound: passes.
        remainder: passes in the last pass of the loops above it on the same dimension; equal to `bound` when perfect.
    """

    level: int
    axis: int
    dimension: int
    bound: int
    remainder: int


@dataclass(frozen=True)
class Flags:
    """Reuse that a mapping forbids, each a set of (level, data space).

    Attributes:
        apart: no multicast to, and no reduction of, the children below the level (`no_reuse` of a spatial target).
        unlinked: no passing on among them (`no_link_transfer`).
        forgets: the level's tile is sent again in every step (`no_reuse` of a temporal target).
        reads_first: the first update of a result reads what it is added to, as the later ones do (`rmw_first_update`).
        passing: every access of the levels inside goes on to the level outside (`no_coalesce`).
    """

    apart: frozenset[tuple[int, int]] = frozenset()
    unlinked: frozenset[tuple[int, int]] = frozenset()
    forgets: frozenset[tuple[int, int]] = frozenset()
    reads_first: frozenset[tuple[int, int]] = frozenset()
    passing: frozenset[tuple[int, int]] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.apart or self.unlinked or self.forgets or self.reads_first or self.passing)


@dataclass(slots=True)
class Tile:
    """One data space at one level; counts are words per instance of the level, over the whole problem, without sparsity.

    Attributes:
        kept: whether the level stores the data space. All counts are 0 where it does not.
        extents: size of each rank of the tile (for one mapping also where the data space is not kept, for a batch not).
        size: words of the tile, the product of the extents; 0 where not kept.
        partition_size: words of the tensor that this instance is ever responsible for; 0 where not kept.
        reads: words read to serve the level below, or to be reduced with.
        fills: words that arrive from the level above.
        updates: words that arrive from the level below (results only).
        temporal_reductions: words that were added to a value already here.
        parent: the next level outward that keeps the data space, None when there is none.
        child: the next level inward that keeps it, None when that is the compute level.
    """

    kept: bool
    extents: tuple[Number, ...]
    size: Number = 0
    partition_size: Number = 0
    reads: Number = 0
    fills: Number = 0
    updates: Number = 0
    temporal_reductions: Number = 0
    parent: int | None = None
    child: int | None = None


@dataclass(slots=True)
class Delivery:
    """What one instance of a level sends over the network below it for one data space, without sparsity.

    Attributes:
        hops: hops of all words together.
        links: words that children pass among themselves instead.
        partition_size: of the level's tile.
        ingresses: (children that share a word, words) of each kind of ingress; None for a batch.
        word_hops: hops of the words of each kind of ingress.
    """

    hops: Number
    links: Number
    partition_size: Number = 0
    ingresses: tuple[tuple[int, float], ...] | None = None
    word_hops: tuple[float, ...] = ()


@dataclass(slots=True)
class Nest:
    """The analysed nest.

    Attributes:
        tiles: `tiles[level][data space]`.
        bounds: `bounds[level]`: per dimension the iterations that one tile of the level covers, this level's own temporal and
            spatial loops included.
        instances: per level, how many instances are used on average (a fraction only with imperfect spatial factors).
        x_expansion: per level, how far the spatial loops above spread along X.
        y_expansion: likewise along Y.
        compute_instances: compute units used on average.
        compute_x: how far all spatial loops spread along X.
        compute_y: likewise along Y.
        compute_accesses: passes of the innermost body on one compute unit, on average.
        temporal_iterations: product of all temporal bounds; the cycles when a factor is imperfect.
        imperfect: whether some bound and remainder differ.
        loops: the loops with a bound above 1, innermost first (one mapping only; empty for a batch).
        factors: `(level, 3, dimension, batch)` bounds by axis (a batch only; None for one mapping).
        order: `(level, dimension, batch)` dimension indices of the temporal loops, innermost first (a batch only).
        spatial_order: likewise of the spatial loops, those on X before those on Y; None for the shape's order (a batch only).
        deliveries: `deliveries[level][data space]`, what networks carry; empty where none costs anything.
    """

    tiles: list[list[Tile]]
    bounds: list[tuple[Number, ...]]
    instances: list[Number]
    x_expansion: list[Number]
    y_expansion: list[Number]
    compute_instances: Number
    compute_x: Number
    compute_y: Number
    compute_accesses: Number
    temporal_iterations: Number
    imperfect: bool = False
    loops: list[Loop] = field(default_factory=list)
    factors: Number = None
    order: Number = None
    spatial_order: Number = None
    deliveries: list[list[Delivery]] = field(default_factory=list)

    @property
    def computes(self) -> Number:
        """Multiply-accumulates of the dense problem."""
        return self.compute_accesses * self.compute_instances

    def widened(self) -> Nest:
        """One mapping's nest as a batch of one: every number an array `(1,)`; counts beyond 63 bits become doubles."""
        tiles = [
            [
                replace(
                    tile,
                    extents=tuple(_array(extent) for extent in tile.extents),
                    **{name: _array(getattr(tile, name)) for name in _COUNTS},
                )
                for tile in row
            ]
            for row in self.tiles
        ]
        return replace(
            self,
            tiles=tiles,
            instances=[_array(x) for x in self.instances],
            x_expansion=[_array(x) for x in self.x_expansion],
            y_expansion=[_array(x) for x in self.y_expansion],
            compute_instances=_array(self.compute_instances),
            compute_x=_array(self.compute_x),
            compute_y=_array(self.compute_y),
            compute_accesses=_array(self.compute_accesses),
            temporal_iterations=_array(self.temporal_iterations),
        )


def _array(x: Number) -> Number:
    return np.array([float(x) if isinstance(x, int) and abs(x) >= 2**63 else x])
