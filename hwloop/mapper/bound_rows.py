"""All ways to spread the dimensions of a problem, for the lower bound: what every product of the cost model takes of each."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hwloop.mapper.factors import SMALL, ceilings, remainders
from hwloop.mapper.mapspace import X_AXIS, Mapspace
from hwloop.simulator.compiled import Compiled

Array = NDArray[np.float64]
MOST_ROWS = 20_000  # of one dimension; beyond it stands the relaxation to real factors
MOST_JOINT = 30_000  # of dimensions that share a window; beyond it the window counts only one of them


@dataclass(frozen=True)
class Part:
    """Some dimensions of a problem, and the ways to spread them over the slots of a mapspace.

    Attributes:
        dims: the dimensions, by index.
        bounds: `(way, dimension of dims, slot)` loop bounds, innermost slot first.
        on_y: `(way, dimension of dims, slot)` the spatial loop lies on Y.
        covered: `(way, dimension of dims, slot + 1)` iterations inside each slot; the last is the dimension.
        last: `(way, dimension of dims, slot)` bounds of the last pass of all loops outside.
        loose: whether bounds are real numbers, whose convex combinations are all ways to spread the dimension; a window over
            several dimensions then counts the largest of them only.
    """

    dims: tuple[int, ...]
    bounds: Array
    on_y: NDArray[np.bool_]
    covered: Array
    last: Array
    loose: bool

    def __len__(self) -> int:
        return len(self.bounds)

    @cached_property
    def cut(self) -> NDArray[np.bool_]:
        """`(way,)` some pass is incomplete."""
        return np.asarray((self.last != self.bounds).any((1, 2)))

    @cached_property
    def effective(self) -> Array:
        """Passes, less what incomplete ones leave out; their product is the dimension."""
        return np.asarray(self.covered[:, :, 1:] / self.covered[:, :, :-1])


def make_parts(space: Mapspace, compiled: Compiled, reach: NDArray[np.int64], imperfect: bool) -> list[Part]:
    """The dimensions larger than 1, those that share a window together.

    Args:
        space: the mapspace.
        compiled: the simulator's view of levels and data spaces.
        reach: `(level, dimension)` the most iterations that a tile can hold.
        imperfect: whether one bound of a dimension may leave an incomplete last pass.
    """
    single: dict[int, tuple[Array, NDArray[np.bool_], bool]] = {}
    for d, size in enumerate(compiled.bounds):
        if size > 1:
            single[d] = _ways(space, d, size, reach[:, d], imperfect)
    parts = []
    for group in _windows(compiled, set(single)):
        joint = float(np.prod([float(len(single[d][0])) for d in group]))
        loose = any(single[d][2] for d in group) or joint > MOST_JOINT
        for dims in [(d,) for d in group] if loose else [group]:
            rows = np.stack([i.ravel() for i in np.meshgrid(*[np.arange(len(single[d][0])) for d in dims], indexing="ij")])
            bounds = np.stack([single[d][0][rows[i]] for i, d in enumerate(dims)], axis=1)
            on_y = np.stack([single[d][1][rows[i]] for i, d in enumerate(dims)], axis=1)
            sizes = np.array([float(compiled.bounds[d]) for d in dims])
            covered = np.minimum(np.cumprod(bounds, axis=2), sizes[None, :, None])
            covered = np.concatenate([np.ones((*covered.shape[:2], 1)), covered], axis=2)
            covered[:, :, -1] = sizes
            last = bounds
            if not loose:
                each = [remainders(bounds[:, j].astype(np.int64), compiled.bounds[d]) for j, d in enumerate(dims)]
                last = np.stack(each, axis=1).astype(np.float64)
            parts.append(Part(dims, bounds, on_y, covered, last, bool(loose)))
    return parts


def _windows(compiled: Compiled, known: set[int]) -> list[tuple[int, ...]]:
    """Dimensions grouped by the windows that join them."""
    groups = {d: {d} for d in known}
    for space in compiled.spaces:
        for rank in space.ranks:
            joined = [d for d, _ in rank if d in known]
            for d in joined[1:]:
                merged = groups[joined[0]] | groups[d]
                for k in merged:
                    groups[k] = merged
    return sorted({tuple(sorted(g)) for g in groups.values()})


def _ways(space: Mapspace, d: int, size: int, reach: NDArray[np.int64], imperfect: bool) -> tuple[Array, NDArray[np.bool_], bool]:
    """Bounds `(way, slot)`, which lie on Y, and whether they are real numbers."""
    least = int(imperfect and size > SMALL)
    for budget in range(least, max(len(space.slots), 2)):
        signed = _chains(space, d, size, reach, budget)
        if signed is None:
            return _corners(space, d, size)
        if len(signed):
            return np.abs(signed).astype(np.float64), signed < 0, False
    return _corners(space, d, size)


def _chains(space: Mapspace, d: int, size: int, reach: NDArray[np.int64], budget: int) -> NDArray[np.int64] | None:
    """Signed bounds `(way, slot)`; None where they are too many."""
    rest, cut, covered = np.array([size]), np.array([0]), np.array([1])
    columns = np.zeros((1, 0), np.int64)
    for i, slot in enumerate(space.slots):
        kept: list[NDArray[np.int64]] = []
        values: list[NDArray[np.int64]] = []
        for left in np.unique(rest):
            at = np.flatnonzero(rest == left)
            options = _options(slot.low[d], slot.high[d], slot.room, slot.spatial, int(left), budget, i == len(space.slots) - 1)
            kept.append(np.repeat(at, len(options)))
            values.append(np.tile(np.array(options, np.int64), len(at)))
        at, value = np.concatenate(kept), np.concatenate(values)
        rest, cut, covered = rest[at], cut[at] + (rest[at] % value > 0), covered[at] * value
        ok = (cut <= budget) & (np.minimum(covered, size) <= max(int(reach[slot.level]), 1))
        at, value, rest, cut, covered = at[ok], value[ok], rest[ok], cut[ok], covered[ok]
        rest = -(-rest // value)
        signs = [value]
        index = [np.arange(len(value))]
        if slot.spatial:
            signs, index = [], []
            for axis, room in zip((1, 2), slot.room, strict=True):
                fits = (value > 1) & (value <= room) if axis in slot.axes[d] else np.zeros(len(value), bool)
                index.append(np.flatnonzero(fits))
                signs.append(value[fits] if axis == X_AXIS else -value[fits])
            index.append(np.flatnonzero(value == 1))
            signs.append(value[value == 1])
        which, sign = np.concatenate(index), np.concatenate(signs)
        columns = np.concatenate([columns[at[which]], sign[:, None]], axis=1)
        rest, cut, covered = rest[which], cut[which], covered[which]
        if len(columns) > 4 * MOST_ROWS:
            return None
    columns = columns[rest == 1]
    return columns if len(columns) <= MOST_ROWS else None


def _options(low: int, high: int, room: tuple[int, int], spatial: bool, left: int, budget: int, last: bool) -> list[int]:
    if last:
        values = [left]
    elif low == high:
        values = [low]
    else:
        values = ceilings(left)
        if budget and spatial:
            values = sorted({*values, *(n for n in room if 1 < n <= left)})
    return [n for n in values if low <= n <= min(high, left)]


def _corners(space: Mapspace, d: int, size: int) -> tuple[Array, NDArray[np.bool_], bool]:
    """Bounds as real numbers: the corners of all that multiply to the dimension, between each slot's least and greatest."""
    low = np.array([float(min(s.low[d], size)) for s in space.slots])
    high = np.array([float(min(max(s.high[d], s.low[d]), size)) for s in space.slots])
    n = len(low)
    rows = []
    movable = [i for i in range(n) if high[i] > low[i]]
    for free in movable or [n - 1]:
        others = [i for i in movable if i != free]
        for ends in itertools.product((0, 1), repeat=len(others)):
            row = low.copy()
            row[[i for i, end in zip(others, ends, strict=True) if end]] = high[
                [i for i, end in zip(others, ends, strict=True) if end]
            ]
            row[free] = 1.0
            row[free] = size / row.prod()
            if low[free] * (1 - 1e-9) <= row[free] <= high[free] * (1 + 1e-9):
                rows.append(row)
    bounds = np.unique(np.array(rows or [np.maximum(low, 1.0)]), axis=0)
    on_y = np.zeros(bounds.shape, bool)
    for i, slot in enumerate(space.slots):
        if slot.spatial:
            on_y[:, i] = X_AXIS not in slot.axes[d]
            if len(slot.axes[d]) == 2:
                other = on_y.copy()
                other[:, i] = True
                bounds, on_y = np.concatenate([bounds, bounds]), np.concatenate([on_y, other])
    return bounds, on_y, True
