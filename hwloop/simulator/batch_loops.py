"""The loops of many mappings as arrays whose last axis is the batch: what they cover, where they spread, and in which order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwloop.simulator.compiled import Compiled, CompiledSpace
from hwloop.simulator.nest import SPATIAL_X, SPATIAL_Y, TEMPORAL

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Keep = tuple[tuple[bool, ...], ...]


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
        spread: by level, whether any mapping has spatial loops in it.
    """

    factors: Ints
    children: Ints
    bounds: Ints
    fan_x: Ints
    fan_y: Ints
    expansion: Ints
    spread: list[bool]


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


def make_footprint(compiled: Compiled, factors: Ints) -> Footprint:
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
    spread = [False] * count
    for level, fan in enumerate(compiled.fanout):
        if fan != (1, 1):
            np.multiply.reduce(factors[level, SPATIAL_X:], axis=1, out=expansion[:, level + 1])
            spread[level] = bool(expansion[:, level + 1].max() > 1)
    fan_x, fan_y = expansion[:, 1:].copy()
    for level in range(1, count + 1):
        expansion[:, level] *= expansion[:, level - 1]
    return Footprint(factors, steps[0::2][::-1], steps[1::2][::-1], fan_x, fan_y, expansion, spread)


def make_slots(temporal: Ints, children: Ints, order: Ints) -> Slots:
    """Lays the temporal loops out as slots.

    Args:
        temporal: `(level, dimension, batch)` bounds.
        children: `(level, dimension, batch)` iterations inside the temporal loops of the level.
        order: `(level, dimension, batch)` dimension indices, innermost first.
    """
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


def extents_of(space: CompiledSpace, bounds: Ints) -> list[Ints]:
    """Size of each rank of a data space over `bounds` iterations `(dimension, batch)`."""
    out = []
    for (first, coefficient), *rest in space.ranks:
        total = bounds[first] if coefficient == 1 else (bounds[first] - 1) * coefficient + 1
        for d, c in rest:
            total = total + (bounds[d] - 1 if c == 1 else (bounds[d] - 1) * c)
        out.append(total)
    return out


@dataclass(frozen=True)
class SpaceTable:
    """A data space by dimension.

    Attributes:
        radix: what one iteration adds to a position in the tensor, with the ranks as digits of a mixed radix.
        relevant: whether the dimension indexes the data space.
        multi: whether it shares a rank with another one.
        exact: whether every position fits 63 bits.
    """

    radix: Ints
    relevant: Bools
    multi: Bools
    exact: bool


def space_table(space: CompiledSpace, sizes: tuple[int, ...]) -> SpaceTable:
    """The table of a data space for a problem of these sizes."""
    radix = [0] * len(sizes)
    weight = 1
    for rank in space.ranks:
        for d, coefficient in rank:
            radix[d] += coefficient * weight
        weight *= 4 * (1 + sum(c * sizes[d] for d, c in rank)) + 1
    exact = weight < 2**62
    shared = {d for rank in space.ranks if len(rank) > 1 for d, _ in rank}
    return SpaceTable(
        radix=np.array(radix if exact else [0] * len(sizes), np.int64),
        relevant=np.array([d in space.dimensions for d in range(len(sizes))]),
        multi=np.array([d in shared for d in range(len(sizes))]),
        exact=exact,
    )


def accumulate_rows(operation: np.ufunc, rows: Ints) -> None:
    """Accumulates along the first axis in place. Row by row is faster than `accumulate`, which goes column by column."""
    if rows.size < 4096:
        operation.accumulate(rows, axis=0, out=rows)
        return
    for i in range(1, len(rows)):
        operation(rows[i - 1], rows[i], out=rows[i])


def product(parts: list[Ints]) -> Ints:
    """The product of some arrays, element by element."""
    out = parts[0]
    for part in parts[1:]:
        out = out * part
    return out
