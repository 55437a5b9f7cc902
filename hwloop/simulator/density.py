"""Density models: how many of a tile's values are nonzero, and how likely the tile is empty.

Sparseloop, MICRO 2022, section 5.3.2: the density model turns a tile's shape into a distribution over its occupancy
(number of nonzeros). A tile is its extents by rank; all but the banded model look at its size alone, so tiles are passed as
a *key*: `(size,)`, or the extents where `by_size` is False.

A model answers for the whole tensor (`empty`, `occupancies`, ...) and for a part of a tile whose own size and occupancy are
known (`empty_within`), which is what a compressed format needs rank by rank.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import lru_cache
from math import ceil, floor, prod

import numpy as np
from numpy.typing import NDArray

Key = tuple[int, ...]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_WRAP = 1 << 64
_TAIL = 10.0  # standard deviations (and twice as many counts) kept of a distribution: what is left out is far below 1e-17
_VANISHES = 800.0  # a chance of less than exp(-this) is 0 in a double
_LONGEST_PRODUCT = 1 << 20
_FEW = 16
_REMEMBERED = 512


class DensityModel(ABC):
    """What the sparse analysis asks of the distribution of nonzeros in a tensor.

    Attributes:
        name: as the real program prints it.
        by_size: whether a tile is its size alone.
    """

    name: str
    by_size: bool = True

    @abstractmethod
    def empty(self, tile: Key) -> float:
        """Probability that a tile of the tensor has no nonzero."""

    @abstractmethod
    def empty_within(self, part: Key, tile: Key, occupancies: Ints) -> Floats:
        """Probability that a part of a tile is empty, for each possible occupancy of the tile."""

    @abstractmethod
    def occupancies(self, tile: Key) -> tuple[Ints, Floats]:
        """The tile's possible occupancies, ascending, with their nonzero probabilities."""

    @abstractmethod
    def least_occupancy(self, tile: Key, size: int) -> int:
        """The least occupancy that the real program looks at: the least density of the tile times `size`, its values."""

    @abstractmethod
    def most_occupancy(self, tile: Key) -> int:
        """The largest possible occupancy: what a buffer must hold when overbooking is not allowed."""

    @abstractmethod
    def fullest(self, extents: Ints) -> Ints:
        """`most_occupancy` of many tiles at once, from their extents `(rank, batch)`."""

    @abstractmethod
    def value_density(self) -> float:
        """Expected density of a single value."""

    def most_elements(self, fiber: Key, element: Key) -> int:
        """The largest number of nonempty elements in a fiber made of such elements (for spatial skipping)."""
        return min(self.most_occupancy(fiber), prod(fiber) // prod(element))


class FixedStructured(DensityModel):
    """Every tile has exactly the density, rounded up or down so that the mean is right (N:M pruning, MICRO 2022 table 4)."""

    name = "fixed_structured"

    def __init__(self, density: float) -> None:
        self._density = density

    def empty(self, tile: Key) -> float:
        """Probability that a tile of the tensor has no nonzero."""
        exact = tile[0] * self._density
        low = floor(exact)
        return 1.0 - (exact - low) if low == 0 else 0.0

    def empty_within(self, part: Key, tile: Key, occupancies: Ints) -> Floats:
        """Probability that a part of a tile is empty, by the occupancy of the tile."""
        exact = part[0] * (occupancies / tile[0])
        low = np.floor(exact)
        return np.where(low == 0, 1.0 - (exact - low), 0.0)

    def occupancies(self, tile: Key) -> tuple[Ints, Floats]:
        """Possible occupancies and their probabilities."""
        exact = tile[0] * self._density
        low = floor(exact)
        above = exact - low
        if above == 0.0:
            return np.array([low]), np.array([1.0])
        return np.array([low, low + 1]), np.array([1.0 - above, above])

    def least_occupancy(self, tile: Key, size: int) -> int:
        """Rounded as the real program does it, by way of a density: a least occupancy of 1 can come out as 0."""
        return floor(floor(tile[0] * self._density) / tile[0] * size)

    def most_occupancy(self, tile: Key) -> int:
        """The largest possible occupancy."""
        exact = tile[0] * self._density
        above = exact - floor(exact)
        return floor(exact) if 1.0 - above >= 1.0 else ceil(exact)

    def fullest(self, extents: Ints) -> Ints:
        """`most_occupancy` of many tiles."""
        exact = extents.prod(axis=0) * self._density
        above = exact - np.floor(exact)
        out: Ints = np.where(1.0 - above >= 1.0, np.floor(exact), np.ceil(exact)).astype(np.int64)
        return out

    def value_density(self) -> float:
        """Expected density of a single value."""
        return self._density


class Hypergeometric(DensityModel):
    """The nonzeros fall anywhere in the tensor: unstructured pruning (MICRO 2022 section 5.3.2).

    A tile is a draw of its size without replacement from a tensor of `size` values, `nonzeros` of which are not zero.

    Probabilities are formed in long doubles and rounded once, because counts that follow are rounded up or down: the last bit
    can decide. For tensors of more than 104,729 values the real program's own approximation is a bit or two off; a count that
    lies on a whole number can then differ by 1.
    """

    name = "hypergeometric"

    def __init__(self, density: float, size: int) -> None:
        self.size = size
        self.nonzeros = ceil(density * size)
        self._distributions: dict[int, tuple[Ints, Floats]] = {}

    def empty(self, tile: Key) -> float:
        """Probability that a tile of the tensor has no nonzero."""
        return none_drawn(self.size, self.nonzeros, tile[0])

    def empty_within(self, part: Key, tile: Key, occupancies: Ints) -> Floats:
        """Probability that a part of a tile is empty, by the occupancy of the tile."""
        size, drawn = tile[0], part[0]
        if drawn == 1 or not len(occupancies):
            # an imperfect factor may make a tile hold more than it has room for
            single: Floats = np.maximum(size - occupancies, 0) / size
            return single
        least, most = int(occupancies[0]), int(occupancies[-1])
        if drawn > size or drawn * least / size > _VANISHES:
            return np.zeros(occupancies.shape)
        if len(occupancies) < 4 or most > _LONGEST_PRODUCT:
            return np.array([none_drawn(size, int(n), drawn) for n in occupancies])
        if drawn == size:
            return np.where(occupancies == 0, 1.0, 0.0)
        if most > int(occupancies[-2]) + 1:  # the fullest tile, far from the others
            return np.append(self.empty_within(part, tile, occupancies[:-1]), none_drawn(size, most, drawn))
        return _all_missed(size, drawn, occupancies)

    def occupancies(self, tile: Key) -> tuple[Ints, Floats]:
        """Possible occupancies and their probabilities, remembered for the tiles asked for last."""
        found = self._distributions.get(tile[0])
        if found is None:
            if len(self._distributions) >= _REMEMBERED:
                self._distributions.clear()
            found = self._distributions[tile[0]] = self._distribution(tile[0])
        return found

    def _distribution(self, drawn: int) -> tuple[Ints, Floats]:
        total, marked = self.size, self.nonzeros
        low, high = max(0, drawn + marked - total), min(drawn, marked)
        if low == high:
            return np.array([low]), np.array([1.0])
        mean = drawn * marked / total
        spread = _TAIL * (2.0 + (mean * (1.0 - marked / total) * (total - drawn) / max(total - 1, 1)) ** 0.5)
        mode = min(max((drawn + 1) * (marked + 1) // (total + 2), low), high)
        counts = np.arange(max(low, floor(mode - spread)), min(high, ceil(mode + spread)) + 1)
        # Ratios of neighbours, outwards from the mode: no factorial is ever formed, and the sum says how much one is.
        exact = counts.astype(np.longdouble)
        grows = (marked - exact) * (drawn - exact) / ((exact + 1) * (total - marked - drawn + exact + 1))
        at = mode - int(counts[0])
        weights = np.ones(len(counts), np.longdouble)
        weights[at + 1 :] = np.cumprod(grows[at:-1])
        weights[:at] = np.cumprod(1 / grows[:at][::-1])[::-1]
        probabilities = (weights / weights.sum()).astype(np.float64)
        if counts[0] > low:  # the least occupancy keeps its (negligible) place: the analysis may take it out as "empty"
            return np.concatenate([[low], counts]), np.concatenate([[0.0], probabilities])
        return counts, probabilities

    def least_occupancy(self, tile: Key, size: int) -> int:
        """The real program's arithmetic: the difference of two sizes wraps below 0, so that nearly every tile starts from 0.

        Where the wrapped number comes out just below 2**64, no occupancy is left at all.
        """
        drawn = tile[0]
        if drawn <= self.size - self.nonzeros:
            return 0
        density = (float((drawn - self.size) % _WRAP) + self.nonzeros) / drawn
        least = floor(density * size)
        return least if least < _WRAP else 0

    def most_occupancy(self, tile: Key) -> int:
        """The largest possible occupancy."""
        return min(tile[0], self.nonzeros)

    def fullest(self, extents: Ints) -> Ints:
        """`most_occupancy` of many tiles."""
        out: Ints = np.minimum(extents.prod(axis=0), self.nonzeros)
        return out

    def value_density(self) -> float:
        """Expected density of a single value."""
        return self.nonzeros / self.size


def _all_missed(size: int, drawn: int, marked: Ints) -> Floats:
    """`none_drawn` for many numbers of marked values, ascending."""
    if drawn < marked[0] and drawn <= _FEW:  # each value drawn in turn is none of the marked ones
        rest = (size - marked).astype(np.longdouble)
        chance = rest / size
        for i in range(1, drawn):
            chance *= np.maximum(rest - i, 0) / (size - i)
        return chance.astype(np.float64)
    steps = np.arange(min(int(marked[-1]), size), dtype=np.longdouble)  # each marked value in turn is not drawn
    chances = np.cumprod(np.maximum(size - drawn - steps, 0) / (size - steps))
    return np.concatenate([[1.0], chances])[np.minimum(marked, size)].astype(np.float64)


@lru_cache(maxsize=1 << 18)
def none_drawn(total: int, marked: int, drawn: int) -> float:
    """Probability that `drawn` out of `total` values miss all the `marked` ones: C(total - marked, drawn) / C(total, drawn)."""
    if drawn + marked > total and marked > 0:
        return 0.0
    few, many = min(drawn, marked), max(drawn, marked)
    if few == 0:
        return 1.0
    if few == 1:
        return (total - many) / total
    if few * many / total > _VANISHES:
        return 0.0
    steps = np.arange(few, dtype=np.longdouble)
    return float(np.prod(((total - many) - steps) / (total - steps)))
