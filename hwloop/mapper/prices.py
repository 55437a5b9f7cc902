"""What words cost in the mapper's model, which knows of sparsity only that compressed tiles take less room."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwloop.mapper.mapspace import Mapspace
from hwloop.simulator.compiled import Compiled

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Prices:
    """Costs of a word, arrays `(level, data space)`.

    Attributes:
        read: energy of a word read [pJ]; likewise `fill` and `update`.
        fill: energy of a word filled [pJ].
        update: energy of a word updated [pJ].
            part: part of a tile's words that is stored.
        most: words stored of a data space at most.
        compute: energy of an operation of the dense problem [pJ].
    """

    read: Array
    fill: Array
    update: Array
    part: Array
    most: Array
    compute: float

    def stored(self, level: int, s: int, words: Array) -> Array:
        """Words that a level stores of tiles of a data space."""
        if self.part[level, s] == 1.0 and self.most[level, s] == np.inf:
            return words
        return np.asarray(np.minimum(np.ceil(words * self.part[level, s]), self.most[level, s]))


def word_prices(compiled: Compiled, compressed: NDArray[np.bool_]) -> Prices:
    """Prices without what sparsity saves of the traffic: the simulator knows that.

    Args:
        compiled: the simulator's view of levels and energies.
        compressed: `(level, data space)` where only nonzeros are stored.
    """
    spaces = range(len(compiled.spaces))
    per_word = np.array([[level.word_rows[s] / level.row_words[s] for s in spaces] for level in compiled.levels])

    def energy(kind: str) -> Array:
        return np.asarray(np.array([[level.energy_pj["random", kind]] * len(spaces) for level in compiled.levels]) * per_word)

    part, most = np.ones(per_word.shape), np.full(per_word.shape, np.inf)
    for level, s in zip(*np.nonzero(compressed), strict=True):
        density = compiled.problem.density(compiled.spaces[s].name)
        if density.distribution == "fixed_structured":
            part[level, s] = density.density
        elif density.distribution == "hypergeometric":
            most[level, s] = np.ceil(density.density * compiled.problem.tensor_size(compiled.spaces[s].name))
    return Prices(energy("read"), energy("fill"), energy("update"), part, most, compiled.compute_pj["computes"])


def tile_reach(space: Mapspace, compiled: Compiled, prices: Prices) -> NDArray[np.int64]:
    """`(level, dimension)` the most iterations of each dimension that a tile can hold, all other dimensions at one."""
    most = np.tile(np.array(compiled.bounds, np.int64), (len(compiled.levels), 1))
    for index, level in enumerate(compiled.levels):
        if level.capacity is None:
            continue
        for s, kept in enumerate(space.keep[index]):
            dense = prices.part[index, s] == 1.0 and prices.most[index, s] == np.inf
            if kept == 1 and dense:
                words = level.capacity * (level.row_words[s] if level.by_rows else 1)
                for d in compiled.spaces[s].dimensions:
                    most[index, d] = max(min(most[index, d], words), 1)
    return most
