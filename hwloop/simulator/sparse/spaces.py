"""A data space as the sparse analysis sees it, with its density models."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from hwloop.errors import SpecError
from hwloop.simulator.banded import Banded
from hwloop.simulator.density import DensityModel, FixedStructured, Floats, Ints
from hwloop.simulator.hypergeometric import Hypergeometric
from hwloop.simulator.numeric import Number
from hwloop.spec.density import Density

Vector = tuple[int, ...]  # extents or iterations of one mapping
_FEW = 16  # mappings for which one multiplication of matrices beats a loop over the terms


@dataclass(frozen=True)
class Space:
    """A data space by index.

    Attributes:
        name: its name.
        ranks: per rank the (dimension index, coefficient) terms.
        relevant: `(dimension,)`, the dimensions that index it.
        read_write: True for the result.
        models: how its nonzeros may be spread; all `by_size` or none.
        which: index into `models`: 0 for all, or `(candidate, 1)` for candidates of different densities.
    """

    name: str
    ranks: tuple[tuple[tuple[int, int], ...], ...]
    relevant: NDArray[np.bool_]
    read_write: bool
    models: tuple[DensityModel, ...]
    which: Number = 0

    @cached_property
    def _projection(self) -> Ints:
        """`(rank, dimension)` coefficients."""
        out = np.zeros((len(self.ranks), len(self.relevant)), np.int64)
        for r, rank in enumerate(self.ranks):
            for d, c in rank:
                out[r, d] += c
        return out

    @cached_property
    def dimensions(self) -> frozenset[int]:
        """The dimensions that index it."""
        return frozenset(np.flatnonzero(self.relevant).tolist())

    @overload
    def extents(self, mold: Vector) -> Vector: ...

    @overload
    def extents(self, mold: Ints) -> Ints: ...

    def extents(self, mold: Vector | Ints) -> Vector | Ints:
        """`(rank, batch)` extents of the tile over `mold` `(dimension, batch)` iterations; of one mapping, tuples."""
        if isinstance(mold, tuple):
            return tuple([1 + sum([c * (mold[d] - 1) for d, c in rank]) for rank in self.ranks])
        if mold.shape[1] <= _FEW:
            small: Ints = self._projection @ (mold - 1) + 1
            return small
        return np.stack([sum((c * (mold[d] - 1) for d, c in rank), start=np.ones_like(mold[0])) for rank in self.ranks])

    @overload
    def size(self, mold: Vector) -> int: ...

    @overload
    def size(self, mold: Ints) -> Ints: ...

    def size(self, mold: Vector | Ints) -> int | Ints:
        """`(batch,)` words of that tile; of one mapping, a number."""
        if isinstance(mold, tuple):
            return math.prod(self.extents(mold))
        out: Ints = self.extents(mold).prod(axis=0)
        return out

    @property
    def wide(self) -> int:
        """Columns of `keys`."""
        return 1 if self.models[0].by_size else len(self.ranks)

    def keys(self, extents: Vector | Ints) -> list[Any]:
        """The columns that tell one tile from another to a density model: sizes, or extents."""
        if not self.models[0].by_size:
            return list(extents)
        return [math.prod(extents) if isinstance(extents, tuple) else extents.prod(axis=0)]

    @property
    def model_column(self) -> Ints:
        """`which` as a column for `by_distinct`."""
        return np.atleast_1d(np.asarray(self.which))

    def value_density(self) -> Number:
        """Expected density of a single value."""
        if len(self.models) == 1:
            return self.models[0].value_density()
        return np.array([model.value_density() for model in self.models])[self.which]

    def by_model(self, rows: Ints, values: int, function: Callable[[DensityModel, Ints], Floats]) -> Floats:
        """`function(model, rows)` of rows whose first column says which model; `(row, values)`."""
        if len(self.models) == 1:
            return function(self.models[0], rows)
        out = np.empty((len(rows), values))
        kinds: dict[object, list[int]] = {}
        models = [self.models[i] for i in rows[:, 0].tolist()]
        for row, model in enumerate(models):
            kinds.setdefault(model.kind, []).append(row)
        for chosen in kinds.values():
            joined = type(models[chosen[0]]).together([models[i] for i in chosen])
            out[chosen] = function(joined, rows[chosen])
        return out

    def empty(self, rows: Ints) -> Floats:
        """`(row, 1)` probability that a tile is empty, from rows of model and key."""
        return self.by_model(rows, 1, lambda model, some: model.empty(some[:, 1:])[:, None])


def density_model(density: Density, data_space: str, extents: tuple[int, ...]) -> DensityModel:
    """The model of a data space's density.

    Args:
        density: how the nonzeros are spread.
        data_space: its name.
        extents: of the tensor, by rank. They are the mapping's, which with imperfect factors exceed the problem's; a
            `workload_tensor_size` in the spec is put aside, as the real program does.

    Raises:
        SpecError: a model that this analysis has no numbers for, or a banded tensor that is not a square matrix.
    """
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
