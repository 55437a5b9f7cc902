"""From rows of the factor tables to mappings: loop orders, remainders, and back from a known mapping to rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwloop.mapper.factors import FactorTable, remainders
from hwloop.mapper.mapspace import Mapspace, written_order
from hwloop.mapper.orders import OrderChoice, order_choices
from hwloop.simulator.compiled import Compiled
from hwloop.spec.batch import SPATIAL_X, SPATIAL_Y, TEMPORAL, MappingBatch
from hwloop.spec.loops import complete_permutation


@dataclass(frozen=True)
class Points:
    """Points of a mapspace: tilings with what is kept and how the loops of each level are ordered.

    Attributes:
        rows: `(batch, dimension)` row numbers into the factor tables.
        keep: `(batch, level, data space)`.
        orders: `(batch, level)` numbers of candidate orders.
    """

    rows: NDArray[np.int64]
    keep: NDArray[np.bool_]
    orders: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, which: slice | NDArray[np.int64] | NDArray[np.bool_]) -> Points:
        return Points(self.rows[which], self.keep[which], self.orders[which])

    @classmethod
    def concatenate(cls, parts: list[Points]) -> Points:
        """One after the other."""
        return cls(
            np.concatenate([p.rows for p in parts]),
            np.concatenate([p.keep for p in parts]),
            np.concatenate([p.orders for p in parts]),
        )

    def unique(self) -> Points:
        """Each point once, the first of equals, in the order they came."""
        flat = np.concatenate([self.rows, self.keep.reshape(len(self), int(np.prod(self.keep.shape[1:]))), self.orders], axis=1)
        _, first = np.unique(flat, axis=0, return_index=True)
        return self[np.sort(first)]


class Layout:
    """Writes points of a mapspace as a `MappingBatch`.

    Attributes:
        orders: by level `(candidate, dimension)` dimension numbers, innermost first: `order_choices`, then more.
    """

    def __init__(self, space: Mapspace, tables: tuple[FactorTable, ...], compiled: Compiled) -> None:
        self.space, self.tables, self.compiled = space, tables, compiled
        self.orders = [self._candidates(level, choices) for level, choices in enumerate(order_choices(space, compiled))]
        self._spatial = self._spatial_order()

    def _spatial_order(self) -> NDArray[np.int8] | None:
        """`(level, dimension)` order of spatial loops as the constraints have it, None when they say nothing."""
        dims = self.space.problem.shape.dimensions
        storage, constraints = self.space.architecture.storage, self.space.architecture.constraints
        out = np.tile(np.arange(len(dims), dtype=np.int8), (len(storage), 1))
        said = False
        for i, level in enumerate(storage):
            constraint = constraints.loop(level.name, "spatial")
            if constraint is not None and constraint.permutation is not None:
                names = complete_permutation(written_order(self.space.problem, self.space.architecture, constraint), dims)
                out[i] = [dims.index(d) for d in names if d in dims]
                said = True
        return out if said else None

    def _candidates(self, level: int, choices: list[OrderChoice]) -> NDArray[np.int8]:
        """The model's choices, then those that differ in the innermost loop or in the first relevant one."""
        rule = self.space.orders[level]
        main = [choice.order for choice in choices]
        more: list[tuple[int, ...]] = []
        free = [d for d in range(len(self.tables)) if d not in rule.first and d not in rule.last]
        for s in self.compiled.spaces:
            inner = [d for d in free if d not in s.dimensions]
            outer = [d for d in free if d in s.dimensions]
            for d in inner:
                more.append((*rule.first, d, *(k for k in inner if k != d), *outer, *rule.last))
            for d in outer:
                more.append((*rule.first, *inner, d, *(k for k in outer if k != d), *rule.last))
        return np.array([*main, *(order for order in dict.fromkeys(more) if order not in main)], np.int8)

    def batch(self, points: Points) -> MappingBatch:
        """The points as mappings, in their order."""
        n, dims = len(points), len(self.tables)
        levels = len(self.compiled.levels)
        factors = np.ones((n, levels, 3, dims), np.int64)
        rests = None
        imperfect = any(bool(t.imperfect[points.rows[:, d]].any()) for d, t in enumerate(self.tables))
        if imperfect:
            rests = np.ones_like(factors)
        for d, table in enumerate(self.tables):
            bounds = table.bounds[points.rows[:, d]]
            on_y = table.on_y[points.rows[:, d]]
            last = remainders(bounds, self.space.problem.bounds[d]) if imperfect else bounds
            for i, slot in enumerate(self.space.slots):
                axis = np.where(on_y[:, i], SPATIAL_Y, SPATIAL_X) if slot.spatial else TEMPORAL
                factors[np.arange(n), slot.level, axis, d] = bounds[:, i]
                if rests is not None:
                    rests[np.arange(n), slot.level, axis, d] = last[:, i]
        order = np.stack([self.orders[level][points.orders[:, level]] for level in range(levels)], axis=1)
        spatial = None if self._spatial is None else np.broadcast_to(self._spatial, (n, *self._spatial.shape))
        return MappingBatch(factors, order, points.keep, rests, spatial)

    def points(self, batch: MappingBatch) -> tuple[Points, NDArray[np.bool_]]:
        """The points nearest to mappings: the same tilings and keeps, and the candidate orders with the same innermost loops.

        Returns:
            the points, and whether each mapping's tiling is in the factor tables (where not, the row means nothing).
        """
        n = len(batch)
        rows = np.zeros((n, len(self.tables)), np.int64)
        known = np.ones(n, bool)
        for d, table in enumerate(self.tables):
            signed = np.where(table.on_y, -table.bounds, table.bounds)
            wanted = np.ones((n, len(self.space.slots)), np.int64)
            covered = np.ones(n, np.int64)
            for i, slot in enumerate(self.space.slots):
                if slot.spatial:
                    x, y = batch.factors[:, slot.level, SPATIAL_X, d], batch.factors[:, slot.level, SPATIAL_Y, d]
                    wanted[:, i] = np.where(y > 1, -y, x)
                    covered *= x * y
                else:
                    wanted[:, i] = batch.factors[:, slot.level, TEMPORAL, d]
                    covered *= wanted[:, i]
            hit = (signed[None] == wanted[:, None]).all(2)
            known &= hit.any(1) & (covered == batch.factors[:, :, :, d].prod((1, 2)))
            rows[:, d] = hit.argmax(1)
        orders = np.zeros((n, len(self.orders)), np.int64)
        for level, candidates in enumerate(self.orders):
            for b in range(n):
                orders[b, level] = _closest(candidates, batch.order[b, level], batch.factors[b, level, TEMPORAL])
        return Points(rows, batch.keep.copy(), orders), known


def _closest(candidates: NDArray[np.int8], order: NDArray[np.int8], bounds: NDArray[np.int64]) -> int:
    """The candidate that shares the longest run of innermost loops, those of one pass left out."""
    wanted = [int(d) for d in order if bounds[d] > 1]
    best, most = 0, -1
    for k, candidate in enumerate(candidates):
        have = [int(d) for d in candidate if bounds[d] > 1]
        same = next((i for i, (a, b) in enumerate(zip(have, wanted, strict=True)) if a != b), len(wanted))
        if same > most:
            best, most = k, same
    return best
