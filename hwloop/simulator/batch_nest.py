"""The nest analysis of many mappings at once, on arrays whose last axis is the batch. All share what is kept where."""

from __future__ import annotations

import numpy as np

from hwloop.simulator.activity import TileActivity
from hwloop.simulator.batch_chain import Chain
from hwloop.simulator.batch_loops import (
    Bools,
    Footprint,
    Ints,
    Keep,
    extents_of,
    make_footprint,
    make_slots,
    product,
    space_table,
)
from hwloop.simulator.compiled import Compiled
from hwloop.simulator.cost import needed_capacity
from hwloop.simulator.nest import TEMPORAL, Nest
from hwloop.simulator.numeric import Number


class BatchAnalysis:
    """Analyses batches of one compiled problem and architecture; what does not depend on the mappings is worked out once."""

    def __init__(self, compiled: Compiled) -> None:
        self.compiled = compiled
        self.tables = [space_table(space, compiled.bounds) for space in compiled.spaces]

    @property
    def exact(self) -> bool:
        """Whether positions in every tensor fit one 64-bit integer."""
        return all(table.exact for table in self.tables)

    def footprint(self, factors: Ints) -> Footprint:
        """What the loops `(level, 3, dimension, batch)` cover and where they spread."""
        return make_footprint(self.compiled, factors)

    def fits(self, foot: Footprint, keep: Keep) -> Bools:
        """Where every level of a dense accelerator has room and mesh enough; where results wait, for finished values."""
        compiled = self.compiled
        x, y = foot.expansion
        good: Bools = (x[-1] <= compiled.compute_mesh[0]) & (y[-1] <= compiled.compute_mesh[1])
        for index, level in enumerate(compiled.levels):
            if level.mesh_x * level.mesh_y < compiled.compute_instances:
                good &= (x[index] <= level.mesh_x) & (y[index] <= level.mesh_y)
            if level.capacity is not None:
                tiles = [
                    TileActivity(
                        capacity=product(extents_of(space, foot.bounds[index])) if kept else 0,
                        waits=level.waiting[s] is not None and not any(row[s] for row in keep[:index]),
                    )
                    for s, (space, kept) in enumerate(zip(compiled.spaces, keep[index], strict=True))
                ]
                used: Number = sum(needed_capacity(level, tiles))
                good &= used <= level.capacity
                if level.min_capacity:
                    good &= used >= level.min_capacity
        return good

    def run(
        self, foot: Footprint, order: Ints, keep: Keep, spatial_order: Ints | None = None
    ) -> tuple[Nest, Bools]:  # fmt: skip
        """Analyses a batch.

        Args:
            foot: its footprint.
            order: `(level, dimension, batch)` dimension indices of the temporal loops, innermost first.
            keep: `keep[level][data space]`, the same for all.
            spatial_order: like `order`, of the spatial loops; None for the shape's order.

        Returns:
            The nest with arrays `(batch,)`, and where it is valid (the real program stops at a check elsewhere).
        """
        count, batch = foot.bounds.shape[0], foot.bounds.shape[2]
        slots = make_slots(foot.factors[:, TEMPORAL], foot.children, order)
        x, y = foot.expansion
        instances = (x * y).astype(np.float64)
        iterations = slots.outer[0]
        valid = np.ones(batch, np.bool_)
        columns, carried = [], []
        for s, table in enumerate(self.tables):
            chain = Chain(self.compiled, s, table, foot, spatial_order, slots, instances)
            columns.append(chain.tiles([row[s] for row in keep], iterations, valid))
            carried.append(chain.deliveries)
        nest = Nest(
            tiles=[[column[level] for column in columns] for level in range(count)],
            bounds=[tuple(foot.bounds[level]) for level in range(count)],
            instances=list(instances[:-1]),
            x_expansion=list(x[:-1]),
            y_expansion=list(y[:-1]),
            compute_instances=instances[-1],
            compute_x=x[-1],
            compute_y=y[-1],
            compute_accesses=iterations,
            temporal_iterations=iterations,
            factors=foot.factors,
            order=order,
            spatial_order=spatial_order,
            deliveries=[list(row) for row in zip(*carried, strict=True)],
        )
        return nest, valid
