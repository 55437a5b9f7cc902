"""Density models: how many of a tile's values are nonzero, and how likely the tile is empty.

Sparseloop, MICRO 2022, section 5.3.2: the density model turns a tile's shape into a distribution over its occupancy
(number of nonzeros). Tiles are asked about many at a time, a row each: `tiles` is `(row, 1)`, the tile's size, or `(row, rank)`,
its extents, where `by_size` is False. A model stands for one tensor, or (`together`) for a tensor a row, which all have
the same kind of density but not the same density.

A model answers for the whole tensor (`empty`, `occupancies`, ...) and for a part of a tile whose own size and occupancy are
known (`empty_within`), which is what a compressed format needs rank by rank.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hwloop.simulator.numeric import Number

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_PADDED = 1 << 17  # numbers in a padded array: it stays in a core's cache


class DensityModel(ABC):
    """What the sparse analysis asks of the distribution of nonzeros in a tensor.

    Attributes:
        name: as the real program prints it.
        by_size: whether a tile is its size alone.
    """

    name: str
    by_size: bool = True

    @property
    def kind(self) -> object:
        """Equal for models that `together` can join."""
        return type(self)

    @classmethod
    @abstractmethod
    def together(cls, models: Sequence[Self]) -> Self:
        """One model a row, all of one `kind`."""

    @abstractmethod
    def empty(self, tiles: Ints) -> Floats:
        """`(row,)` probability that a tile of the tensor has no nonzero."""

    @abstractmethod
    def empty_within(self, parts: Ints, tiles: Ints, occupancies: Ints) -> Floats:
        """`(row, case)` probability that a part of a tile is empty, for the occupancies `(row, case)` of the tile.

        The last case may lie far above the others, which ascend. Not a number where the model has no such tile.
        """

    @abstractmethod
    def occupancies(self, tiles: Ints) -> tuple[Ints, Floats]:
        """`(row, case)` possible occupancies, ascending, with their probabilities; rows are filled up with cases of no chance."""

    @abstractmethod
    def cases(self, tiles: Ints) -> Ints:
        """`(row,)` how many cases `occupancies` has for a tile alone."""

    @abstractmethod
    def least_occupancy(self, tiles: Ints, sizes: Ints) -> Ints:
        """`(row,)` least occupancy that the real program looks at: the least density of the tile times its values, `sizes`."""

    @abstractmethod
    def most_occupancy(self, tiles: Ints) -> Ints:
        """`(row,)` largest possible occupancy: what a buffer must hold when overbooking is not allowed."""

    @abstractmethod
    def value_density(self) -> Number:
        """Expected density of a single value."""

    def most_elements(self, fibers: Ints, elements: Ints) -> Floats:
        """`(row,)` largest number of nonempty elements in a fiber made of such elements (for spatial skipping)."""
        room: Floats = np.minimum(self.most_occupancy(fibers), fibers.prod(axis=1) // elements.prod(axis=1)).astype(np.float64)
        return room


class FixedStructured(DensityModel):
    """Every tile has exactly the density, rounded up or down so that the mean is right (N:M pruning, MICRO 2022 table 4)."""

    name = "fixed_structured"

    def __init__(self, density: Number) -> None:
        self._density = density

    @classmethod
    def together(cls, models: Sequence[Self]) -> Self:
        """One model a row."""
        return cls(np.array([model._density for model in models]))

    def _exact(self, tiles: Ints) -> tuple[Floats, Floats]:
        exact = tiles[:, 0] * self._density
        return exact, np.floor(exact)

    def empty(self, tiles: Ints) -> Floats:
        """Probability that a tile of the tensor has no nonzero."""
        exact, low = self._exact(tiles)
        return np.where(low == 0, 1.0 - (exact - low), 0.0)

    def empty_within(self, parts: Ints, tiles: Ints, occupancies: Ints) -> Floats:
        """Probability that a part of a tile is empty, by the occupancy of the tile."""
        exact = parts[:, :1] * (occupancies / tiles[:, :1])
        low = np.floor(exact)
        return np.where(low == 0, 1.0 - (exact - low), 0.0)

    def occupancies(self, tiles: Ints) -> tuple[Ints, Floats]:
        """Two: the exact number rounded down, and up."""
        exact, low = self._exact(tiles)
        above = exact - low
        return np.stack([low, low + 1], axis=1).astype(np.int64), np.stack([1.0 - above, above], axis=1)

    def cases(self, tiles: Ints) -> Ints:
        """Two."""
        return np.full(len(tiles), 2)

    def least_occupancy(self, tiles: Ints, sizes: Ints) -> Ints:
        """Rounded as the real program does it, by way of a density: a least occupancy of 1 can come out as 0."""
        least: Ints = np.floor(self._exact(tiles)[1] / tiles[:, 0] * sizes).astype(np.int64)
        return least

    def most_occupancy(self, tiles: Ints) -> Ints:
        """The exact number rounded up."""
        exact, low = self._exact(tiles)
        most: Ints = np.where(1.0 - (exact - low) >= 1.0, low, np.ceil(exact)).astype(np.int64)
        return most

    def value_density(self) -> Number:
        """Expected density of a single value."""
        return self._density


def chunks(lengths: Ints) -> Iterator[Ints]:
    """Rows of about equal length together: arrays padded to the longest of a chunk stay small."""
    if not len(lengths):
        return
    order = np.argsort(lengths, kind="stable")
    ordered = lengths[order]
    begin = 0
    while begin < len(order):
        shortest = max(int(ordered[begin]), 1)
        stop = int(np.searchsorted(ordered, 16 + shortest + shortest // 2, side="right"))
        stop = min(stop, begin + max(_PADDED // (2 * shortest), 1))
        yield order[begin:stop]
        begin = stop
