"""The final step: the simulator costs the shortlist and the neighbourhood of its best, loop orders and keeps included."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hwloop.mapper.factors import FactorTable
from hwloop.mapper.genes import Archive, Genes
from hwloop.mapper.layout import Layout, Points
from hwloop.mapper.model import CostModel
from hwloop.mapper.objective import Array, Objective, objective_values
from hwloop.mapper.search import FITS, TilingSearch
from hwloop.simulator.result import BatchCost
from hwloop.spec.batch import MappingBatch

Simulate = Callable[[MappingBatch], BatchCost]


@dataclass(frozen=True)
class Best:
    """The best point and what it scores.

    Attributes:
        points: one point; none when nothing is feasible.
        value: its objective, infinite when nothing is feasible.
        tie: what breaks ties.
    """

    points: Points
    value: float
    tie: float


class Refiner:
    """Costs points with the simulator and improves on the best.

    Args:
        layout: writes points as mappings.
        model: the cost model, which says which neighbours are worth a simulation.
        simulate: costs a batch of mappings.
        objective: what is minimised.
    """

    def __init__(self, layout: Layout, model: CostModel, simulate: Simulate, objective: Objective) -> None:
        self.layout, self.model, self.objective = layout, model, objective
        self._simulate = simulate
        self.tables: tuple[FactorTable, ...] = layout.tables
        self.evaluated = 0
        self._seen: set[bytes] = set()
        self._movable = sorted(model.temporal)

    def cost(self, points: Points) -> tuple[Array, Array]:
        """Objective and tie-breaker of points, infinite where the simulator refuses the mapping."""
        self.evaluated += len(points)
        result = self._simulate(self.layout.batch(points))
        feasible = result.feasible
        value, tie = np.full(len(points), np.inf), np.full(len(points), np.inf)
        if feasible.any():
            with np.errstate(invalid="ignore"):
                value, tie = objective_values(self.objective, result)
            value, tie = np.where(feasible, value, np.inf), np.where(feasible, tie, np.inf)
        return value, tie

    def best_of(self, points: Points, best: Best) -> Best:
        """The better of the best point so far and the best of `points` that were not costed yet."""
        points = self._fresh(points)
        if not len(points):
            return best
        value, tie = self.cost(points)
        at = int(np.lexsort((tie, value))[0])
        if (value[at], tie[at]) < (best.value, best.tie):
            return Best(points[np.array([at])], float(value[at]), float(tie[at]))
        return best

    def _fresh(self, points: Points) -> Points:
        """Those not costed yet. Orders that differ only in loops of one pass are the same point."""
        if not len(points):
            return points
        new = []
        bounds = np.stack([t.bounds[points.rows[:, d]] for d, t in enumerate(self.tables)], axis=2) > 1
        parts = [points.rows, points.keep.reshape(len(points), -1).astype(np.int64)]
        for level, slot in self.model.temporal.items():
            order = self.layout.orders[level][points.orders[:, level]].astype(np.int64)
            used = np.take_along_axis(bounds[:, slot], order, axis=1)
            squeezed = np.argsort(~used, axis=1, kind="stable")
            parts.append(np.where(np.take_along_axis(used, squeezed, 1), np.take_along_axis(order, squeezed, 1), -1))
        keys = np.concatenate(parts, axis=1).astype(np.int32)
        for i, key in enumerate(keys):
            mark = key.tobytes()
            if mark not in self._seen:
                self._seen.add(mark)
                new.append(i)
        return points[np.array(new, np.int64)]

    def shortlist(self, archive: Archive, genes: Genes) -> Points:
        """The archive's tilings with the orders that the model chose."""
        keep = np.broadcast_to(
            genes.keep(archive.points), (len(archive.points), self.model.n_levels, len(self.model.compiled.spaces))
        )
        return Points(genes.rows(archive.points), keep.copy(), archive.orders)

    def feasible(self, search: TilingSearch, n: int) -> Points:
        """Of `n` fresh starts of the search those that the model says fit, with the orders it chooses."""
        points = search.starts(n)
        keep = np.broadcast_to(search.genes.keep(points), (n, self.model.n_levels, len(self.model.compiled.spaces))).copy()
        rows = search.genes.rows(points)
        estimate = self.model.evaluate(rows, keep)
        orders = np.zeros((n, self.model.n_levels), np.int64)
        for level, chosen in estimate.orders.items():
            orders[:, level] = chosen
        return Points(rows, keep, orders)[estimate.overflow <= FITS].unique()

    def climb(self, best: Best, rounds: int, width: int) -> Best:
        """Goes downhill from the best point: other orders, single and paired moves that the model likes, other keeps.

        Args:
            best: where to start.
            rounds: steps at most.
            width: neighbours that are simulated in a step.
        """
        for _ in range(rounds):
            if not len(best.points):
                return best
            step = self.best_of(self._orders_near(best.points), best)
            step = self.best_of(self._tilings_near(step.points, width), step)
            step = self.best_of(self._keeps_near(step.points), step)
            if (step.value, step.tie) >= (best.value, best.tie):
                return step
            best = step
        return best

    def _orders_near(self, point: Points) -> Points:
        """Every candidate order of every level, and the model's choices for every pair of levels."""
        changes: list[tuple[tuple[int, int], ...]] = []
        for level in self._movable:
            for k in range(len(self.layout.orders[level])):
                changes.append(((level, k),))
        for i, a in enumerate(self._movable):
            for b in self._movable[i + 1 :]:
                changes += [
                    ((a, j), (b, k)) for j in range(len(self.model.choices[a])) for k in range(len(self.model.choices[b]))
                ]
        repeated = point[np.zeros(len(changes), np.int64)]
        for i, change in enumerate(changes):
            for level, k in change:
                repeated.orders[i, level] = k
        return repeated

    def near(self, point: Points, n: int) -> Points:
        """The `n` neighbouring tilings that the model ranks first, under the orders that it chooses."""
        row = point.rows[0]
        rows = []
        for d, table in enumerate(self.tables):
            signed = np.where(table.on_y, -table.bounds, table.bounds)
            moved = (signed != signed[row[d]]).sum(1)
            near = np.flatnonzero((moved > 0) & (moved <= 2))
            changed = np.repeat(row[None], len(near), axis=0)
            changed[:, d] = near
            rows.append(changed)
        every = np.concatenate(rows)
        if not len(every):
            return point[np.zeros(0, np.int64)]
        estimate = self.model.evaluate(every, point.keep[0])
        value, _ = objective_values(self.objective, estimate)
        value = np.where(estimate.overflow <= FITS, value, np.inf)
        first = np.argsort(value, kind="stable")[:n]
        first = first[np.isfinite(value[first])]
        out = point[np.zeros(len(first), np.int64)]
        out.rows[:] = every[first]
        for level, chosen in estimate.orders.items():
            out.orders[:, level] = chosen[first]
        return out

    def _tilings_near(self, point: Points, width: int) -> Points:
        """The neighbouring tilings that the model ranks first, under the point's orders and under the model's."""
        chosen = self.near(point, width // 2)
        own = Points(chosen.rows.copy(), chosen.keep.copy(), np.repeat(point.orders, len(chosen), axis=0))
        return Points.concatenate([own, chosen])

    def _keeps_near(self, point: Points) -> Points:
        free = self.layout.space.free_keeps
        repeated = point[np.zeros(len(free), np.int64)]
        for i, (level, s) in enumerate(free):
            repeated.keep[i, level, s] ^= True
        held = np.asarray(np.any(repeated.keep, axis=1)).all(axis=1)
        return repeated[np.flatnonzero(held)]
