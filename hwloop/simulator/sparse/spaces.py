"""A data space as the sparse analysis sees it, with its density model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwloop.errors import SpecError
from hwloop.simulator.banded import Banded
from hwloop.simulator.density import DensityModel, FixedStructured, Hypergeometric, Key
from hwloop.spec.problem import Problem

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

    def empty(self, tile: Key) -> tuple[float]:
        """Probability that a tile is empty, as the one value of a row."""
        return (self.model.empty(tile),)

    def keys(self, extents: Ints) -> list[Ints]:
        """The columns that tell one tile from another to the density model: sizes, or extents."""
        return [extents.prod(axis=0)] if self.model.by_size else list(extents)


def density_model(problem: Problem, data_space: str, extents: tuple[int, ...]) -> DensityModel:
    """The model of a data space's density.

    Args:
        problem: the layer.
        data_space: its name.
        extents: of the tensor, by rank. They are the mapping's, which with imperfect factors exceed the problem's; a
            `workload_tensor_size` in the spec is put aside, as the real program does.

    Raises:
        SpecError: a model that this analysis has no numbers for, or a banded tensor that is not a square matrix.
    """
    density = problem.density(data_space)
    where = f"instance.densities.{data_space}.distribution"
    if density.distribution == "hypergeometric":
        return Hypergeometric(density.density, int(np.prod(extents)))
    if density.distribution == "banded":
        if len(extents) != 2 or extents[0] != extents[1]:
            raise SpecError("problem", where, "a square matrix (two ranks of equal size) under `banded`", extents)
        return Banded(density.band_width, extents[0])
    if density.distribution == "actual_data":
        raise SpecError(
            "problem", where, "fixed_structured, hypergeometric or banded", density.distribution,
            "measure the data's density and give it as hypergeometric: the real program refuses actual_data too",
        )  # fmt: skip
    return FixedStructured(density.density)
