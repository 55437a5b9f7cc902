"""What single tilings really cost: every order of their loops, by the simulator."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations, product
from math import factorial

import numpy as np
from numpy.typing import NDArray

from hwloop.errors import InfeasibleMappingError
from hwloop.mapper.bound_orders import feeds_many
from hwloop.mapper.bound_rows import Part
from hwloop.mapper.credit import true_cost
from hwloop.mapper.mapspace import Mapspace
from hwloop.mapper.simulation import BatchSimulation
from hwloop.spec.batch import SPATIAL_X, SPATIAL_Y, TEMPORAL, MappingBatch

Array = NDArray[np.float64]
Score = Callable[[Array, Array], Array]
MOST_EVEN, MOST_CUT = 2000, 60  # orders of one tiling; those with incomplete passes are costed one by one


class Leaves:
    """Costs of tilings under all loop orders.

    Args:
        space: the mapspace.
        simulation: the problem on the accelerator.
        parts: the ways to spread the dimensions.

    Attributes:
        walked: loop nests with incomplete passes that were costed.
    """

    def __init__(self, space: Mapspace, simulation: BatchSimulation, parts: list[Part]) -> None:
        self.space, self.simulation, self.parts = space, simulation, parts
        sliding = {d for s in simulation.compiled.spaces for rank in s.ranks if len(rank) > 1 for d, _ in rank}
        self._sliding = sorted(sliding)
        self.walked = 0
        self._plain = not simulation.sparse and not feeds_many(space) and not any(part.loose for part in parts)

    def least(self, ways: list[int], keep: NDArray[np.bool_], score: Score) -> float | None:
        """The least score over all loop orders of one tiling.

        Args:
            ways: by part.
            keep: `(level, data space)`.
            score: of energies [pJ] and cycles, arrays `(order,)`.

        Returns:
            infinity where no order fits the accelerator; None where the orders are too many, or where the order of spatial
            loops could matter.
        """
        slots, levels = self.space.slots, len(self.simulation.compiled.levels)
        dims = len(self.simulation.compiled.bounds)
        bounds = np.ones((dims, len(slots)), np.int64)
        last, on_y = bounds.copy(), np.zeros(bounds.shape, bool)
        for part, way in zip(self.parts, ways, strict=True):
            bounds[list(part.dims)], last[list(part.dims)] = part.bounds[way], part.last[way]
            on_y[list(part.dims)] = part.on_y[way]
        if not self._plain or self._spatial_order_matters(bounds, on_y):
            return None
        orders: list[list[tuple[int, ...]]] = []
        uneven = bool((bounds != last).any())
        count = 1
        for level in range(levels):
            at = next((i for i, s in enumerate(slots) if s.level == level and not s.spatial), None)
            used = [d for d in range(dims) if at is not None and bounds[d, at] > 1]
            rule = self.space.orders[level]
            middle = [d for d in used if d not in rule.first and d not in rule.last]
            count *= factorial(len(middle))
            if count > (MOST_CUT if uneven else MOST_EVEN):
                return None
            rest = [d for d in range(dims) if d not in used]
            first, final = [d for d in rule.first if d in used], [d for d in rule.last if d in used]
            orders.append([(*first, *some, *final, *rest) for some in permutations(middle)])
        factors = np.ones((levels, 3, dims), np.int64)
        rests = factors.copy()
        for i, slot in enumerate(slots):
            for d in range(dims):
                axis = TEMPORAL if not slot.spatial else SPATIAL_Y if on_y[d, i] else SPATIAL_X
                factors[slot.level, axis, d], rests[slot.level, axis, d] = bounds[d, i], last[d, i]
        every = np.array(list(product(*orders)), np.int8)
        n = len(every)
        batch = MappingBatch(
            np.repeat(factors[None], n, axis=0), every, np.repeat(keep[None], n, axis=0),
            np.repeat(rests[None], n, axis=0) if uneven else None,
        )  # fmt: skip
        return self._uneven(batch, score) if uneven else self._even(batch, score)

    def _spatial_order_matters(self, bounds: NDArray[np.int64], on_y: NDArray[np.bool_]) -> bool:
        """Whether several loops lie on one axis, and a window slides along some of them."""
        for i, slot in enumerate(self.space.slots):
            for axis in (False, True):
                used = np.flatnonzero((bounds[:, i] > 1) & (on_y[:, i] == axis)) if slot.spatial else np.zeros(0)
                if len(used) > 1 and np.isin(used, self._sliding).any():
                    return True
        return False

    def _even(self, batch: MappingBatch, score: Score) -> float:
        cost = self.simulation.batch(batch)
        value = score(cost.energy_pj[cost.feasible], cost.cycles[cost.feasible].astype(np.float64))
        return float(value.min(initial=np.inf))

    def _uneven(self, batch: MappingBatch, score: Score) -> float:
        costs: list[tuple[float, float]] = []
        self.walked += len(batch)
        for i in range(len(batch)):
            mapping = batch.to_mapping(i, self.simulation.problem.shape, self.simulation.architecture)
            try:
                cost = self.simulation.one(mapping)
            except InfeasibleMappingError:
                continue
            costs.append(true_cost(self.simulation, mapping, cost))
        energy, cycles = np.array(costs).reshape(-1, 2).T
        return float(score(energy, cycles).min(initial=np.inf))
