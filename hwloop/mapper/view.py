"""Products over dimensions that several steps of the cost model need, each made once for a batch of tilings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwloop.simulator.compiled import Compiled

Array = NDArray[np.float64]
Keep = NDArray[np.bool_]
Mask = Keep | None  # None: all of the batch


class View:
    """The loops of a batch of tilings.

    Args:
        compiled: the simulator's view of levels and data spaces.
        times: by level with temporal loops, passes by dimension.
        spread: by level with spatial loops, instances by dimension.
        extents: iterations of a tile by level and dimension.
        n: size of the batch.
    """

    def __init__(
        self,
        compiled: Compiled,
        times: dict[int, list[Array]],
        spread: dict[int, list[Array]],
        extents: list[list[Array]],
        n: int,
    ) -> None:
        self.compiled, self.times, self.spread, self.extents = compiled, times, spread, extents
        self.total = {level: product(t) for level, t in times.items()}
        self.ones = np.ones(n)
        self.spread_total = {level: product(t) for level, t in spread.items()}
        self.instances: list[Array] = [self.ones]
        for level in range(len(compiled.levels) - 1):
            last = self.instances[-1]
            self.instances.append(last * self.spread_total[level] if level in spread else last)
        self._relevant: dict[tuple[int, int], Array] = {}
        self._moves: dict[tuple[int, int], NDArray[np.bool_]] = {}
        self._spread_irrelevant: dict[tuple[int, int], Array] = {}

    def relevant(self, level: int, s: int) -> Array:
        """Passes of the loops of a level that index the data space."""
        if (level, s) not in self._relevant:
            dims = self.compiled.spaces[s].dimensions
            self._relevant[level, s] = product([t for d, t in enumerate(self.times[level]) if d in dims], self.ones)
        return self._relevant[level, s]

    def moves(self, level: int, s: int) -> NDArray[np.bool_]:
        """Whether some loop of a level indexes the data space."""
        if (level, s) not in self._moves:
            self._moves[level, s] = self.relevant(level, s) > 1.0
        return self._moves[level, s]

    def irrelevant_spread(self, level: int, s: int) -> Array:
        """Instances below one instance of a level that see the same words."""
        if (level, s) not in self._spread_irrelevant:
            dims = self.compiled.spaces[s].dimensions
            shared = product([t for d, t in enumerate(self.spread[level]) if d not in dims], self.ones)
            for rank in self.compiled.spaces[s].ranks:
                if len(rank) == 2:
                    shared = shared * self._overlap(level, rank)
            self._spread_irrelevant[level, s] = shared
        return self._spread_irrelevant[level, s]

    def _overlap(self, level: int, rank: tuple[tuple[int, int], ...]) -> Array | float:
        """Instances that see the same part of a window, on average, when both dimensions of a rank are spread."""
        (a, step_a), (b, step_b) = rank
        n_a, n_b = self.spread[level][a], self.spread[level][b]
        both = (n_a > 1) & (n_b > 1)
        if not both.any():
            return 1.0
        inner = self.extents[level + 1] if level + 1 < len(self.compiled.levels) else [self.ones] * len(self.extents[0])
        move_a, move_b = step_a * inner[a], step_b * inner[b]
        swap = move_a > move_b
        small, big = np.where(swap, move_b, move_a), np.where(swap, move_a, move_b)
        n_small, n_big = np.where(swap, n_b, n_a), np.where(swap, n_a, n_b)
        k = big / small
        distinct = np.where((k == np.floor(k)) & (k < n_small), k * (n_big - 1.0) + n_small, n_small * n_big)
        return np.where(both, n_small * n_big / distinct, 1.0)

    def copies(self, level: int, s: int) -> Array:
        """Instances of a level that hold the same words."""
        out = self.ones
        for above in range(level):
            if above in self.spread:
                out = out * self.irrelevant_spread(above, s)
        return out

    def combine(self, level: int, s: int, demand: Array) -> Array:
        """Words asked of a level by those below its fan-out, multicast or reduced on the way."""
        return demand / self.irrelevant_spread(level, s) if level in self.spread else demand


def product(factors: list[Array], default: Array | None = None) -> Array:
    """The product; `default` when there are no factors."""
    if not factors:
        assert default is not None
        return default
    out = factors[0]
    for factor in factors[1:]:
        out = out * factor
    return out


def rank_extent(extents: list[Array], rank: tuple[tuple[int, int], ...]) -> Array:
    """Size of one rank of a tile from the iterations by dimension."""
    if len(rank) == 1 and rank[0][1] == 1:
        return extents[rank[0][0]]
    out: Array | float = 1.0
    for d, coefficient in rank:
        out = out + coefficient * (extents[d] - 1.0)
    return np.asarray(out)
