"""A data space as the sparse analysis sees it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwloop.simulate.density import DensityModel, Key

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Space:
    """A data space by index.

    Attributes:
        name: its name.
        ranks: per rank the (dimension index, coefficient) terms.
        relevant: `(dimension,)`, the dimensions that index it.
        read_write: True for the result.
        model: how its nonzeros are spread.
    """

    name: str
    ranks: tuple[tuple[tuple[int, int], ...], ...]
    relevant: NDArray[np.bool_]
    read_write: bool
    model: DensityModel

    def extents(self, mold: Ints) -> Ints:
        """`(rank, batch)` extents of the tile over `mold` `(dimension, batch)` iterations."""
        return np.stack([sum((c * (mold[d] - 1) for d, c in rank), start=np.ones_like(mold[0])) for rank in self.ranks])

    def size(self, mold: Ints) -> Ints:
        """`(batch,)` words of that tile."""
        out: Ints = self.extents(mold).prod(axis=0)
        return out

    def keys(self, extents: Ints) -> list[Ints]:
        """The columns that tell one tile from another to the density model: sizes, or extents."""
        return [extents.prod(axis=0)] if self.model.by_size else list(extents)

    def key(self, extents: tuple[int, ...]) -> Key:
        """One tile's key."""
        return extents
