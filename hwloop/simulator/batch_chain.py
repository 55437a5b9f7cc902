"""One data space of many mappings through all levels: reuse over time and space, then reads, fills and updates.

The same closed form as `hwloop.simulator.reuse`, on arrays. A position in a tensor is one integer, its ranks as digits of a mixed
radix, so that moves are added and compared as integers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwloop.simulator.batch_loops import Bools, Footprint, Ints, Slots, SpaceTable, accumulate_rows, extents_of, product
from hwloop.simulator.batch_space import Children, child_offsets, hops_of, spread_rows
from hwloop.simulator.compiled import Compiled
from hwloop.simulator.nest import SPATIAL_X, Delivery, Tile
from hwloop.simulator.numeric import Number, round_half_up


class Chain:
    """One data space of a batch.

    Args:
        compiled: problem and architecture.
        s: index of the data space.
        table: the data space by dimension.
        foot: what the loops cover.
        spatial_order: order of the spatial loops, None for the shape's.
        slots: the temporal loops.
        instances: `(level + 1, batch)` instances in use.
    """

    def __init__(
        self, compiled: Compiled, s: int, table: SpaceTable, foot: Footprint, spatial_order: Ints | None, slots: Slots,
        instances: NDArray[np.float64],
    ) -> None:  # fmt: skip
        self.compiled, self.space, self.table = compiled, compiled.spaces[s], table
        self.foot, self.spatial_order, self.slots, self.instances = foot, spatial_order, slots, instances
        self.count = len(compiled.levels)
        self.moving: Bools = table.relevant[slots.dimensions] & (slots.bounds > 1)
        if self.space.simple:
            self.passing: Ints = np.where(self.moving, slots.outer[:-1], 1)
        self._codes: tuple[Ints, Ints] | None = None
        self.deliveries = [Delivery(0, 0) for _ in range(self.count)] if compiled.counts_hops else []

    def moves(self, begin: int) -> tuple[Ints, Ints]:
        """(code of each loop's stride, code of the box's move in its step) of the slots from `begin` on."""
        if self._codes is None:
            slots = self.slots
            code: Ints = self.table.radix[slots.dimensions] * slots.strides
            code *= slots.bounds > 1
            before = np.zeros((len(code) + 1, code.shape[1]), np.int64)
            before[1:] = code
            accumulate_rows(np.add, before)
            self._codes = code, before
        code, before = self._codes
        return code[begin:], code[begin:] - before[begin:-1] + before[begin]

    def words(self, begin: int, size: Ints, extents: list[Ints]) -> Ints:
        """Words that a tile receives over all steps of the slots from `begin` on."""
        slots = self.slots
        if self.space.simple:  # everything again, from the innermost loop that moves the tile on
            passes: Ints = np.maximum.reduce(self.passing[begin:], axis=0, initial=1)
            return size * passes
        outer, moving = slots.outer[begin:-1], self.moving[begin:]
        passes = np.maximum.reduce(np.where(moving, outer, 1), axis=0, initial=1)
        code, move = self.moves(begin)
        weight = slots.weight[begin:]
        leading = moving & (outer == passes)
        pattern = np.add.reduce(code * leading, axis=0)
        later = outer < passes
        still = np.add.reduce(weight * (later & (move == 0)), axis=0)
        follow = np.add.reduce(weight * (leading | (later & (move == pattern) & (pattern != 0))), axis=0)
        part = self.partial(slots.dimensions[begin:], slots.strides[begin:], leading, size, extents)
        result: Ints = size * (passes - follow - still) + part * follow
        return result

    def partial(self, dimensions: Ints, strides: Ints, leading: Bools, size: Ints, extents: list[Ints]) -> Ints:
        """New words when the box follows its pattern, the move of the `leading` slot."""
        stride = np.add.reduce(strides * leading, axis=0)
        which = np.add.reduce((dimensions + 1) * leading, axis=0) - 1
        overlap: Ints | None = None
        for rank, extent in zip(self.space.ranks, extents, strict=True):
            moved: Ints = (which == rank[0][0]) * (stride * rank[0][1])
            for d, c in rank[1:]:
                moved = moved + (which == d) * (stride * c)
            rest: Ints = np.maximum(extent - moved, 0)
            overlap = rest if overlap is None else overlap * rest
        assert overlap is not None
        new: Ints = size - overlap
        return new

    def tiles(self, kept: list[bool], iterations: Ints, valid: Bools) -> list[Tile]:
        """The tiles of all levels; clears `valid` where the real program stops."""
        foot, count, innermost = self.foot, self.count, self.count - 1
        outermost = kept.index(True)
        extents = {level: extents_of(self.space, foot.bounds[level]) for level in range(count) if kept[level]}
        sizes = {level: product(e) for level, e in extents.items()}
        partition = self.partitions(kept) if self.space.read_write else {}
        out = [Tile(kept[level], tuple(extents.get(level, ())), sizes.get(level, 0)) for level in range(count)]
        content: Number = iterations
        child: int | None = None
        for level in range(innermost, outermost - 1, -1):
            inner = level + 1
            arriving: Number = iterations
            words: Ints | None = iterations if level == innermost else None
            if level < innermost and kept[inner]:
                words = arriving = self.words(self.slots.starts[inner], sizes[inner], extents[inner])
            links: Number = 0
            if foot.spread[level]:
                size, box = (sizes[inner], extents[inner]) if level < innermost and kept[inner] else self.box(inner)
                content, arriving, links = self.spread(level, words, content, arriving, size, box)
            elif words is not None:
                content = words
            if level < innermost and kept[inner]:
                peer: Number = 0 if isinstance(links, int) else links / self.instances[inner]
                self.finish(out[inner], arriving, peer, inner == outermost, valid)
            if kept[level]:
                tile = out[level]
                tile.partition_size, tile.child = partition.get(level, 0), child
                if child is not None:
                    out[child].parent = level
                child = level
                tile.reads = content  # completed by `finish` once the level above is known
        self.finish(out[outermost], 0, 0, True, valid)
        return out

    def box(self, level: int) -> tuple[Number, list[Ints]]:
        """Size of the tile of a level; a point below the innermost one."""
        if level == self.count:
            one = np.ones(self.foot.bounds.shape[2], np.int64)
            return one, [one] * len(self.space.ranks)
        extents = extents_of(self.space, self.foot.bounds[level])
        return product(extents), extents

    def spread(
        self, level: int, words: Ints | None, content: Number, arriving: Number, size: Ints, extents: list[Ints]
    ) -> tuple[Number, Number, Number]:
        """What one instance of a level with a fan-out sends, what arrives at each child, and what goes over links.

        Notes what its network carries.

        Args:
            level: the level.
            words: what each child receives if it is kept; None when it passes the requests of its own children on.
            content: in that case, how often the child was asked.
            arriving: what arrives at the child without links.
            size: words of a child's tile.
            extents: size of its ranks.
        """
        spatial = self.foot.factors[level, SPATIAL_X:]
        base = content if words is None else words
        groups = spatial[:, self.table.relevant].prod(axis=(0, 1))
        special = self.special(level, spatial)
        points = level == self.count - 1
        hops: Number = 0
        if self.deliveries:
            own = words if words is not None else self.words(self.slots.starts[level + 1], size, extents)
            hops = self.mesh_hops(level) * own
            self.deliveries[level] = Delivery(hops, 0)
        if special is None:
            return groups * base, arriving, 0
        rows = np.flatnonzero(special)
        if not len(rows):
            return groups * base, arriving, 0
        found = spread_rows(self.children_of(level, rows, points, size[rows], [e[rows] for e in extents]))
        if self.deliveries:
            hops[rows] = found.hops
        new_content = groups * base
        if words is None:  # the child passes its children's requests on, with the multicast of its own traffic
            fan = (self.foot.fan_x[level] * self.foot.fan_y[level])[rows]
            factor = base[rows] * fan / np.where(found.weighted > 0, found.weighted, np.inf)
            new_content = new_content.astype(np.float64)
            new_content[rows] = found.scaled(factor)
            return new_content, arriving, 0
        new_content[rows] = found.sent
        links = np.zeros(len(special), np.float64)
        links[rows] = found.links
        if self.deliveries:
            self.deliveries[level].links = links
        if points:  # operands of compute units come from no storage's neighbour
            return new_content, arriving, 0
        arrived = arriving.astype(np.float64)
        arrived[rows] = found.arrive
        return new_content, arrived, links

    def mesh_hops(self, level: int) -> NDArray[np.float64]:
        """`(batch,)` hops of a word to each group of children that share it, where no two dimensions meet in a rank."""
        spatial, codes = self.in_order(level, self.foot.factors[level, SPATIAL_X:], self.table.radix[:, None], slice(None))
        packed = np.concatenate([spatial.reshape(-1, spatial.shape[2]), codes.reshape(-1, codes.shape[2])]).T
        _, first, inverse = np.unique(packed, axis=0, return_index=True, return_inverse=True)
        offsets, _ = child_offsets(spatial[:, :, first], codes[:, :, first])
        width, height = self.mesh(level, first)
        found: NDArray[np.float64] = hops_of(offsets, width, height)[inverse.reshape(-1)]
        return found

    def mesh(self, level: int, rows: Ints | slice) -> tuple[Ints, Ints]:
        """`(row,)` width and height of the mesh below a level."""
        x, y = self.compiled.fanout[level]
        return np.maximum(x, self.foot.fan_x[level, rows]), np.maximum(y, self.foot.fan_y[level, rows])

    def in_order(self, level: int, spatial: Ints, code: Ints, rows: Ints | slice) -> tuple[Ints, Ints]:
        """Spatial loops and what a pass of each adds to a position, both `(2, dimension, row)`, innermost first."""
        codes = np.stack([np.broadcast_to(code, spatial[0].shape), code * spatial[0]])  # a loop on Y lies outside that on X
        if self.spatial_order is None:
            return spatial, codes
        by_order = np.broadcast_to(self.spatial_order[level][:, rows].astype(np.int64), spatial.shape)
        return np.take_along_axis(spatial, by_order, 1), np.take_along_axis(codes, by_order, 1)

    def special(self, level: int, spatial: Ints) -> Bools | None:
        """Where neighbours may exchange data, or children share a word in groups of unequal size; None for nowhere."""
        used = spatial > 1
        if level == self.count - 1:
            anywhere: Bools = np.logical_or.reduce(used, axis=(0, 1))
            return anywhere
        by_dimension = used[0].astype(np.int8) + used[1]  # a dimension may lie on both axes
        if self.space.simple:
            twice = (by_dimension[self.table.relevant] > 1).any(axis=0)
            return twice if twice.any() else None
        shared = np.zeros(spatial.shape[2], np.bool_)
        for rank in self.space.ranks:
            shared |= sum(by_dimension[d] for d, _ in rank) > 1
        moving = by_dimension[self.table.multi].any(axis=0)
        if moving.any():
            begin = self.slots.starts[level + 1]
            active = self.slots.bounds[begin:] > 1
            if len(active):
                innermost = active.argmax(axis=0)[None, :]
                dimension = np.take_along_axis(self.slots.dimensions[begin:], innermost, 0)[0]
                shared |= moving & self.table.multi[dimension]
        return shared

    def children_of(self, level: int, rows: Ints, points: bool, size: Ints, extents: list[Ints]) -> Children:
        """What `spread_rows` needs to know of some mappings at one level."""
        slots, foot = self.slots, self.foot
        begin = 0 if points else slots.starts[level + 1]
        spatial = foot.factors[level, SPATIAL_X:][:, :, rows]
        bounds = slots.bounds[begin:].take(rows, axis=1)
        move = self.moves(begin)[1].take(rows, axis=1)
        active = bounds > 1
        if points:
            sizes = active.astype(np.int64)
        else:
            moving = self.moving[begin:].take(rows, axis=1)
            leading = moving & (np.add.accumulate(moving, axis=0) == 1)
            pattern = np.add.reduce(move * leading, axis=0)
            dimensions, strides = slots.dimensions[begin:].take(rows, axis=1), slots.strides[begin:].take(rows, axis=1)
            part = self.partial(dimensions, strides, leading, size, extents)
            sizes = np.where(active & (move != 0), np.where(move == pattern, part, size), 0)
        inner = np.ones_like(spatial[0]) if points else foot.bounds[level + 1][:, rows]
        spatial, codes = self.in_order(level, spatial, self.table.radix[:, None] * inner, rows)
        width, height = self.mesh(level, rows)
        return Children(
            bounds=spatial,
            codes=codes,
            width=width,
            height=height,
            full=size,
            active=active,
            sizes=sizes,
            moves=move,
            weights=slots.weight[begin:].take(rows, axis=1),
            passes=bounds,
            counted=bool(self.deliveries),
        )

    def partitions(self, kept: list[bool]) -> dict[int, Ints]:
        """Words of the tensor that an instance is responsible for, by kept level."""
        foot = self.foot
        out: dict[int, Ints] = {}
        current = self.box(0)[0]
        for level in range(self.count):
            if level and foot.spread[level - 1]:
                current = current * self.box(level)[0] // product(extents_of(self.space, foot.children[level - 1]))
            if kept[level]:
                out[level] = current
        return out

    def finish(self, tile: Tile, arriving: Number, peer: Number, outermost: bool, valid: Bools) -> None:
        """Splits what a kept tile sends (`tile.reads` so far) into reads, fills and updates."""
        content = tile.reads
        total = content + peer
        valid &= content > 0
        if outermost:
            tile.fills = np.zeros_like(tile.size)
        if not self.space.read_write:
            tile.reads = _whole(total)
            if not outermost:
                tile.fills = (arriving + peer).astype(np.int64)
            return
        again = total - tile.partition_size
        valid &= again >= 0
        tile.updates = _whole(content)
        tile.reads = tile.temporal_reductions = _whole(np.maximum(again, 0))
        if not outermost:
            fills = arriving + peer - tile.partition_size
            if fills.dtype.kind == "f":  # the real program keeps it in 64 bits without a sign
                rounded = np.copysign(np.floor(np.abs(fills) + 0.5), fills)
                fills = np.where(rounded < 0, rounded + 2.0**64, rounded) if (rounded < 0).any() else rounded.astype(np.int64)
            tile.fills = fills


def _whole(x: Number) -> Number:
    return round_half_up(x) if x.dtype.kind == "f" else x
