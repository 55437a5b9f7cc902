"""The nest analysis of many mappings at once, on arrays whose last axis is the batch.

The same closed form as `hwloop.simulate.reuse`, with the loops of all levels laid out as slots, innermost first: `(slot, batch)`.
All mappings of one call share what is kept where. A position in a tensor is one integer, its ranks as digits of a mixed radix,
so that moves are added and compared as integers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwloop.simulate.activity import TileActivity
from hwloop.simulate.batch_space import Children, spread_rows
from hwloop.simulate.compiled import Compiled, CompiledSpace
from hwloop.simulate.cost import needed_capacity
from hwloop.simulate.nest import SPATIAL_X, SPATIAL_Y, TEMPORAL, Nest, Tile
from hwloop.simulate.numeric import Number, round_half_up

Ints = NDArray[np.int64]
Keep = tuple[tuple[bool, ...], ...]


@dataclass(slots=True)
class Slots:
    """The temporal loops of all levels, innermost first.

    Attributes:
        dimensions: `(slot, batch)` dimension index.
        bounds: `(slot, batch)`.
        outer: `(slot + 1, batch)` product of this bound and all further out; the last row is 1.
        weight: `(slot, batch)` how often the loop steps: (bound - 1) x product of the bounds further out.
        strides: `(slot, batch)` iterations of its dimension that one pass covers.
        starts: by level, the first slot of the levels outside it (where the loops around its tile begin).
        first: by level, its own first slot.
    """

    dimensions: Ints
    bounds: Ints
    outer: Ints
    weight: Ints
    strides: Ints
    starts: list[int]
    first: list[int]


@dataclass(slots=True)
class Footprint:
    """What the loops of a batch cover and where they spread.

    Attributes:
        factors: `(level, 3, dimension, batch)` bounds.
        children: `(level, dimension, batch)` iterations that all children of an instance cover together.
        bounds: `(level, dimension, batch)` iterations that one tile of the level covers.
        fan_x: `(level, batch)` children along X.
        fan_y: `(level, batch)` children along Y.
        expansion: `(2, level + 1, batch)` spread of a level's instances along X and Y; the last is that of the compute units.
    """

    factors: Ints
    children: Ints
    bounds: Ints
    fan_x: Ints
    fan_y: Ints
    expansion: Ints


class BatchAnalysis:
    """Analyses batches of one compiled problem and architecture; what does not depend on the mappings is worked out once."""

    def __init__(self, compiled: Compiled) -> None:
        self.compiled = compiled
        self.radix = [_radix(space, compiled.bounds) for space in compiled.spaces]
        multi = [
            {d for rank in space.ranks if len(rank) > 1 for d, _ in rank} for space in compiled.spaces
        ]
        count = len(compiled.bounds)
        self.relevant = [np.array([d in space.dimensions for d in range(count)]) for space in compiled.spaces]
        self.multi = [np.array([d in dims for d in range(count)]) for dims in multi]

    @property
    def exact(self) -> bool:
        """Whether positions in every tensor fit one 64-bit integer."""
        return all(r is not None for r in self.radix)

    def footprint(self, factors: Ints) -> Footprint:
        """What the loops cover and where they spread: enough to say whether a mapping fits a dense accelerator.

        Args:
            factors: `(level, 3, dimension, batch)` bounds; contiguous.
        """
        count, _, dims, batch = factors.shape
        steps = np.empty((2 * count, dims, batch), np.int64)  # from the inside out: spatial, temporal of each level
        np.multiply(factors[::-1, SPATIAL_X], factors[::-1, SPATIAL_Y], out=steps[0::2])
        steps[1::2] = factors[::-1, TEMPORAL]
        accumulate_rows(np.multiply, steps)
        expansion = np.ones((2, count + 1, batch), np.int64)
        for level in range(count):
            for axis in (0, 1):
                if self.compiled.fanout[level][axis] > 1 or self.compiled.fanout[level] != (1, 1):
                    factors[level, axis + 1].prod(axis=0, out=expansion[axis, level + 1])
        fans = expansion[:, 1:].copy()
        accumulate_rows(np.multiply, expansion[0])
        accumulate_rows(np.multiply, expansion[1])
        return Footprint(factors, steps[0::2][::-1], steps[1::2][::-1], fans[0], fans[1], expansion)

    def fits(self, foot: Footprint, keep: Keep) -> NDArray[np.bool_]:
        """Where every level of a dense accelerator has room and mesh enough."""
        compiled = self.compiled
        x, y = foot.expansion
        good: NDArray[np.bool_] = (x[-1] <= compiled.compute_mesh[0]) & (y[-1] <= compiled.compute_mesh[1])
        for index, level in enumerate(compiled.levels):
            if level.mesh_x * level.mesh_y < compiled.compute_instances:
                good &= (x[index] <= level.mesh_x) & (y[index] <= level.mesh_y)
            if level.capacity is not None:
                tiles = [
                    TileActivity(capacity=_product(extents_of(space, foot.bounds[index])) if kept else 0)
                    for space, kept in zip(compiled.spaces, keep[index], strict=True)
                ]
                used: Number = sum(needed_capacity(level, tiles))
                good &= used <= level.capacity
                if level.min_capacity:
                    good &= used >= level.min_capacity
        return good

    def run(
        self, foot: Footprint, order: Ints, keep: Keep, spatial_order: Ints | None = None
    ) -> tuple[Nest, NDArray[np.bool_]]:  # fmt: skip
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
        slots = _slots(foot.factors[:, TEMPORAL], foot.children, order)
        x, y = foot.expansion
        instances = (x * y).astype(np.float64)
        iterations = slots.outer[0]
        valid = np.ones(batch, np.bool_)
        columns = [
            _Chain(self, s, foot, spatial_order, slots, instances).tiles([row[s] for row in keep], iterations, valid)
            for s in range(len(self.compiled.spaces))
        ]
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
        )
        return nest, valid


def extents_of(space: CompiledSpace, bounds: Ints) -> list[Ints]:
    """Size of each rank of a data space over `bounds` iterations `(dimension, batch)`."""
    out = []
    for (first, coefficient), *rest in space.ranks:
        total = bounds[first] if coefficient == 1 else (bounds[first] - 1) * coefficient + 1
        for d, c in rest:
            total = total + (bounds[d] - 1 if c == 1 else (bounds[d] - 1) * c)
        out.append(total)
    return out


def _radix(space: CompiledSpace, sizes: tuple[int, ...]) -> list[int] | None:
    """By dimension, what one iteration adds to a position in the tensor; None when positions need more than 63 bits."""
    out = [0] * len(sizes)
    weight = 1
    for rank in space.ranks:
        for d, coefficient in rank:
            out[d] += coefficient * weight
        weight *= 4 * (1 + sum(c * sizes[d] for d, c in rank)) + 1
    return out if weight < 2**62 else None


def _slots(temporal: Ints, children: Ints, order: Ints) -> Slots:
    count, dims, batch = temporal.shape
    used = [level for level in range(count - 1, -1, -1) if temporal[level].max() > 1]
    position = {level: i * dims for i, level in enumerate(used)}
    first = [0] * count
    running = 0
    for level in range(count - 1, -1, -1):
        first[level] = running
        if level in position:
            running += dims
    starts = [first[level - 1] if level else running for level in range(count)]
    if not used:
        empty = np.empty((0, batch), np.int64)
        return Slots(empty, empty, np.ones((1, batch), np.int64), empty, empty, starts, first)
    dimensions = np.ascontiguousarray(order[used]).reshape(-1, batch).astype(np.int64)
    flat = dimensions * batch + np.arange(batch)
    flat.reshape(len(used), dims, batch)[:] += (np.arange(len(used)) * (dims * batch))[:, None, None]
    bounds = temporal[used].reshape(-1).take(flat)
    strides = children[used].reshape(-1).take(flat)
    outer = np.ones((len(bounds) + 1, batch), np.int64)
    outer[:-1] = bounds
    accumulate_rows(np.multiply, outer[::-1])
    return Slots(dimensions, bounds, outer, outer[:-1] - outer[1:], strides, starts, first)


class _Chain:
    """One data space through all levels."""

    def __init__(
        self, owner: BatchAnalysis, s: int, foot: Footprint, spatial_order: Ints | None, slots: Slots,
        instances: NDArray[np.float64],
    ) -> None:  # fmt: skip
        self.compiled, self.space, self.slots = owner.compiled, owner.compiled.spaces[s], slots
        self.factors, self.spatial_order, self.children, self.bounds = foot.factors, spatial_order, foot.children, foot.bounds
        self.fan_x, self.fan_y, self.instances = foot.fan_x, foot.fan_y, instances
        self.relevant, self.multi = owner.relevant[s], owner.multi[s]
        self.radix = np.array(owner.radix[s] or [0], np.int64)
        self.code: Ints | None = None

    def moves(self, begin: int) -> tuple[Ints, Ints]:
        """(code of each loop's stride, code of the box's move in its step) of the slots from `begin` on."""
        if self.code is None:
            slots = self.slots
            self.code = self.radix[slots.dimensions] * slots.strides
            self.code *= slots.bounds > 1
            self.before = np.zeros((len(self.code) + 1, self.code.shape[1]), np.int64)
            self.before[1:] = self.code
            accumulate_rows(np.add, self.before)
        return self.code[begin:], self.code[begin:] - self.before[begin:-1] + self.before[begin]

    def words(self, begin: int, size: Ints, extents: list[Ints]) -> Ints:
        """Words that a tile receives over all steps of the slots from `begin` on."""
        slots = self.slots
        outer = slots.outer[begin:-1]
        moving = self.relevant[slots.dimensions[begin:]] & (slots.bounds[begin:] > 1)
        passes = np.maximum.reduce(np.where(moving, outer, 1), axis=0, initial=1)  # from the innermost loop that moves it on
        if self.space.simple:
            return size * passes
        code, move = self.moves(begin)
        weight = slots.weight[begin:]
        leading = moving & (outer == passes)
        pattern = np.add.reduce(code * leading, axis=0)
        follow = np.add.reduce(weight * leading, axis=0)
        later = outer < passes
        still = np.add.reduce(weight * (later & (move == 0)), axis=0)
        again = np.add.reduce(weight * (later & (move == pattern) & (pattern != 0)), axis=0)
        part = self.partial(begin, leading, size, extents)
        follow += again
        return size * (passes - follow - still) + part * follow

    def partial(self, begin: int, leading: NDArray[np.bool_], size: Ints, extents: list[Ints]) -> Ints:
        """New words when the box follows its pattern, the move of the `leading` slot."""
        slots = self.slots
        stride = np.add.reduce(slots.strides[begin:] * leading, axis=0)
        which = np.add.reduce((slots.dimensions[begin:] + 1) * leading, axis=0) - 1
        overlap: Ints | None = None
        for rank, extent in zip(self.space.ranks, extents, strict=True):
            moved: Ints | int = 0
            for d, c in rank:
                moved = moved + (which == d) * stride * c
            rest = np.maximum(extent - moved, 0)
            overlap = rest if overlap is None else overlap * rest
        assert overlap is not None
        return size - overlap

    def tiles(self, kept: list[bool], iterations: Ints, valid: NDArray[np.bool_]) -> list[Tile]:
        """The tiles of all levels; clears `valid` where the real program stops."""
        count, batch = len(kept), iterations.shape[0]
        extents = [extents_of(self.space, self.bounds[level]) for level in range(count)]
        sizes = [_product(e) for e in extents]
        outermost = kept.index(True)
        partition = self.partitions(sizes, count) if self.space.read_write else [np.zeros(batch, np.int64)] * count
        content: Number = iterations
        out: list[Tile] = [Tile(False, tuple(e)) for e in extents]
        child: int | None = None
        for level in range(count - 1, outermost - 1, -1):
            inner = level + 1
            fan_used = self.fan_x[level].max() > 1 or self.fan_y[level].max() > 1
            is_child_kept = level == count - 1 or kept[inner]
            arriving: Number = iterations
            if level == count - 1:
                words = iterations
            elif is_child_kept:
                words = arriving = self.words(self.slots.starts[inner], sizes[inner], extents[inner])
            links: Number = 0
            if fan_used:
                if not is_child_kept:
                    words = None
                content, arriving, links = self.spread(level, words, content, arriving, extents, sizes)
            elif is_child_kept:
                content = words
            if level < count - 1 and kept[inner]:
                peer: Number = 0 if isinstance(links, int) else links / self.instances[inner]
                self.finish(out[inner], inner, arriving, peer, partition[inner], inner == outermost, valid)
            if kept[level]:
                out[level] = Tile(True, tuple(extents[level]), sizes[level], partition[level], child=child)
                if child is not None:
                    out[child].parent = level
                child = level
                out[level].reads = content  # completed by `finish` once the level above is known
        self.finish(out[outermost], outermost, 0, 0, partition[outermost], True, valid)
        return out

    def spread(
        self, level: int, words: Ints | None, content: Number, arriving: Number, extents: list[list[Ints]], sizes: list[Ints]
    ) -> tuple[Number, Number, Number]:
        """What one instance of a level with a fan-out sends, what arrives at each child, and what goes over links.

        Args:
            level: the level.
            words: what each child receives if it is kept; None when it passes the requests of its own children on.
            content: in that case, how often the child was asked.
            arriving: what arrives at the child without links.
            extents: by level, size of the tile's ranks.
            sizes: by level, words of the tile.
        """
        count = len(self.compiled.levels)
        spatial = self.factors[level, SPATIAL_X:]
        groups = np.where(self.relevant[None, :, None], spatial, 1).reshape(-1, spatial.shape[2]).prod(axis=0)
        base = content if words is None else words
        special = self.special(level, spatial)
        if not special.any():
            return groups * base, arriving, 0
        rows = np.flatnonzero(special)
        begin = self.slots.starts[level + 1] if level < count - 1 else 0
        points = level == count - 1
        size = np.ones(len(rows), np.int64) if points else sizes[level + 1][rows]
        tile = [np.ones(len(rows), np.int64)] * len(self.space.ranks) if points else [e[rows] for e in extents[level + 1]]
        children = self.children_of(level, rows, begin, points, size, tile)
        found = spread_rows(children)
        new_content = groups * base
        if words is None:  # the child passes its children's requests on, with the multicast of its own traffic
            fan = (self.fan_x[level] * self.fan_y[level])[rows]
            factor = base[rows] * fan / np.where(found.weighted > 0, found.weighted, np.inf)
            new_content = new_content.astype(np.float64)
            new_content[rows] = found.scaled(factor)
            return new_content, arriving, 0
        new_content[rows] = found.sent
        if points:
            return new_content, arriving, 0
        arrived = arriving.astype(np.float64)
        arrived[rows] = found.arrive
        links = np.zeros(len(special), np.float64)
        links[rows] = found.links
        return new_content, arrived, links

    def special(self, level: int, spatial: Ints) -> NDArray[np.bool_]:
        """Where neighbours may exchange data, or children share a word in groups of unequal size."""
        batch = spatial.shape[2]
        used = spatial > 1
        if level == len(self.compiled.levels) - 1:
            return used.any(axis=(0, 1))
        if self.space.simple and not (used[0] & used[1]).any():
            return np.zeros(batch, np.bool_)
        by_dimension = used.sum(axis=0)  # (dimension, batch): a dimension may lie on both axes
        shared = np.zeros(batch, np.bool_)
        for rank in self.space.ranks:
            in_rank = sum(by_dimension[d] for d, _ in rank)
            shared |= in_rank > 1
        moving = (by_dimension[self.multi] > 0).any(axis=0)
        if moving.any():
            begin = self.slots.starts[level + 1]
            active = self.slots.bounds[begin:] > 1
            innermost = active & (np.add.accumulate(active, axis=0) == 1)
            shared |= moving & (innermost & self.multi[self.slots.dimensions[begin:]]).any(axis=0)
        return shared

    def children_of(
        self, level: int, rows: Ints, begin: int, points: bool, size: Ints, extents: list[Ints]
    ) -> Children:
        """What `spread_rows` needs to know of some mappings at one level."""
        slots = self.slots
        spatial = self.factors[level, SPATIAL_X:][:, :, rows]
        bounds = slots.bounds[begin:, rows]
        _, moves = self.moves(begin)
        move = moves[:, rows]
        weight = slots.weight[begin:, rows]
        active = bounds > 1
        if points:
            sizes = np.where(active, 1, 0)
        else:
            moving = active & self.relevant[slots.dimensions[begin:, rows]]
            seen = np.add.accumulate(moving, axis=0)
            leading = moving & (seen == 1)
            pattern = np.add.reduce(move * leading, axis=0)
            part = self.partial_rows(begin, rows, leading, size, extents)
            sizes = np.where(active & (move != 0), np.where(move == pattern, part, size), 0)
        mesh_x, mesh_y = self.compiled.fanout[level]
        code = self.radix[:, None] * self._inner_bounds(level, rows)
        codes = np.stack([code, code * spatial[0]])  # a dimension's loop on Y lies outside its loop on X
        if self.spatial_order is not None:
            by_order = np.broadcast_to(self.spatial_order[level][:, rows].astype(np.int64), spatial.shape)
            spatial, codes = np.take_along_axis(spatial, by_order, 1), np.take_along_axis(codes, by_order, 1)
        return Children(
            bounds=spatial,
            codes=codes,
            width=np.maximum(mesh_x, self.fan_x[level, rows]),
            height=np.maximum(mesh_y, self.fan_y[level, rows]),
            full=size,
            active=active,
            sizes=sizes,
            moves=move,
            weights=weight,
            passes=bounds,
        )

    def _inner_bounds(self, level: int, rows: Ints) -> Ints:
        if level == len(self.compiled.levels) - 1:
            return np.ones((len(self.radix), len(rows)), np.int64)
        return self.bounds[level + 1][:, rows]

    def partial_rows(self, begin: int, rows: Ints, leading: NDArray[np.bool_], size: Ints, extents: list[Ints]) -> Ints:
        """`partial` for some rows only."""
        slots = self.slots
        part = Slots(
            slots.dimensions[begin:, rows], slots.bounds[begin:, rows], slots.outer[begin:, rows], slots.weight[begin:, rows],
            slots.strides[begin:, rows], [], [],
        )  # fmt: skip
        whole, self.slots = self.slots, part
        try:
            return self.partial(0, leading, size, extents)
        finally:
            self.slots = whole

    def partitions(self, sizes: list[Ints], count: int) -> list[Ints]:
        """Words of the tensor that an instance is responsible for, by level."""
        out = [sizes[0]]
        for level in range(1, count):
            if self.fan_x[level - 1].max() > 1 or self.fan_y[level - 1].max() > 1:
                both = _product(extents_of(self.space, self.children[level - 1]))
                out.append(out[-1] * sizes[level] // both)
            else:
                out.append(out[-1])
        return out

    def finish(
        self, tile: Tile, level: int, arriving: Number, peer: Number, partition: Ints, outermost: bool, valid: NDArray[np.bool_]
    ) -> None:
        """Splits what a kept tile sends (`tile.reads` so far) into reads, fills and updates."""
        content = tile.reads
        arriving = 0 if outermost else arriving
        total = content + peer
        valid &= content > 0
        if not self.space.read_write:
            tile.reads = round_half_up(total) if total.dtype.kind == "f" else total
            fills = arriving + peer
            tile.fills = fills.astype(np.int64) if isinstance(fills, np.ndarray) else np.zeros_like(tile.size)
            return
        again = total - partition
        valid &= again >= 0
        floats = again.dtype.kind == "f"
        again = np.maximum(again, 0)
        tile.updates = round_half_up(content) if content.dtype.kind == "f" else content
        tile.reads = tile.temporal_reductions = round_half_up(again) if floats else again
        if outermost:
            tile.fills = np.zeros_like(tile.size)
            return
        fills = arriving + peer - partition
        if fills.dtype.kind == "f":
            rounded = np.copysign(np.floor(np.abs(fills) + 0.5), fills)
            tile.fills = rounded + np.where(rounded < 0, 2.0**64, 0.0) if (rounded < 0).any() else rounded.astype(np.int64)
        else:
            tile.fills = fills


def accumulate_rows(operation: np.ufunc, rows: Ints) -> None:
    """Accumulates along the first axis in place. Row by row is faster than `accumulate`, which goes column by column."""
    if rows.size < 4096:
        operation.accumulate(rows, axis=0, out=rows)
        return
    for i in range(1, len(rows)):
        operation(rows[i - 1], rows[i], out=rows[i])


def _product(parts: list[Ints]) -> Ints:
    out = parts[0]
    for part in parts[1:]:
        out = out * part
    return out
