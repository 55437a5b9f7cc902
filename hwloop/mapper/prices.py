"""What words cost in the mapper's model, which knows of sparsity only that compressed tiles take less room."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from hwloop.mapper.mapspace import Mapspace
from hwloop.simulator.compiled import Compiled

Array = NDArray[np.float64]


@dataclass(frozen=True)
class WaitingPrices:
    """Costs of a word of a result where it waits for its reader, the outermost level that keeps it.

    Attributes:
        read: energy of a partial sum read [pJ]; likewise `fill` and `update`.
        finished: energy of a finished value updated [pJ].
        share: words of the level's bandwidth that a partial sum takes.
        finished_share: likewise of a finished value.
    """

    read: float
    fill: float
    update: float
    finished: float
    share: float
    finished_share: float


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
        waiting: by (level, data space), of results with finished values of their own width.
    """

    read: Array
    fill: Array
    update: Array
    part: Array
    most: Array
    compute: float
    waiting: Mapping[tuple[int, int], WaitingPrices] = field(default_factory=dict)

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
    per_word = np.array([[level.packing[s].word_rows / level.packing[s].row_words for s in spaces] for level in compiled.levels])

    def energy(kind: str) -> Array:
        return np.asarray(np.array([[level.energy_pj["random", kind]] * len(spaces) for level in compiled.levels]) * per_word)

    part, most = np.ones(per_word.shape), np.full(per_word.shape, np.inf)
    for level, s in zip(*np.nonzero(compressed), strict=True):
        density = compiled.problem.density(compiled.spaces[s].name)
        if density.level:  # of finished values alone
            continue
        if density.distribution == "fixed_structured":
            part[level, s] = density.density
        elif density.distribution == "hypergeometric":
            most[level, s] = np.ceil(density.density * compiled.problem.tensor_size(compiled.spaces[s].name))
    return Prices(
        energy("read"), energy("fill"), energy("update"), part, most, compiled.compute_pj["computes"], _waiting(compiled)
    )


def _waiting(compiled: Compiled) -> dict[tuple[int, int], WaitingPrices]:
    out = {}
    for index, level in enumerate(compiled.levels):
        for s, waiting in enumerate(level.waiting):
            if waiting is None:
                continue
            partial, finished = waiting.partial, waiting.finished
            rows, finished_rows = (p.word_rows / p.row_words for p in (partial, finished))
            read, fill, update = (level.energy_pj["random", kind] for kind in ("read", "fill", "update"))
            out[index, s] = WaitingPrices(
                read * rows, fill * rows, update * rows, update * finished_rows,
                partial.bandwidth_scale, finished.bandwidth_scale,
            )  # fmt: skip
    return out


def cheapest(compiled: Compiled) -> Compiled:
    """The same with every value of a result in the width that costs least where it may wait: what no mapping gets below."""
    if all(waiting is None for level in compiled.levels for waiting in level.waiting):
        return compiled
    levels = []
    for level in compiled.levels:
        packing = tuple(
            own if waiting is None else min((own, waiting.partial, waiting.finished), key=lambda p: p.word_rows / p.row_words)
            for own, waiting in zip(level.packing, level.waiting, strict=True)
        )
        levels.append(replace(level, packing=packing, waiting=(None,) * len(packing)))
    return replace(compiled, levels=tuple(levels))


def tile_reach(space: Mapspace, compiled: Compiled, prices: Prices) -> NDArray[np.int64]:
    """`(level, dimension)` the most iterations of each dimension that a tile can hold, all other dimensions at one."""
    most = np.tile(np.array(compiled.bounds, np.int64), (len(compiled.levels), 1))
    for index, level in enumerate(compiled.levels):
        if level.capacity is None:
            continue
        for s, kept in enumerate(space.keep[index]):
            dense = prices.part[index, s] == 1.0 and prices.most[index, s] == np.inf
            if kept == 1 and dense:
                words = level.capacity * (level.packing[s].row_words if level.by_rows else 1)
                for d in compiled.spaces[s].dimensions:
                    most[index, d] = max(min(most[index, d], words), 1)
    return most
