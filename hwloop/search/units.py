"""The units of a space: which variables act on one place of the network, so that what they cost and damage is about additive."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hwloop.search.space import Genes, Space


@dataclass(frozen=True)
class Unit:
    """Variables that act on one place.

    Attributes:
        name: of the layer, of its inputs, of a channel group.
        columns: of a row.
        layers: those that they act on, whose change of costs is taken to be theirs; empty where it is the whole network's.
    """

    name: str
    columns: tuple[int, ...]
    layers: tuple[str, ...] = ()


@runtime_checkable
class UnitSpace(Space, Protocol):
    """A space whose variables belong to units, but for those that choose the base network."""

    @property
    def units(self) -> tuple[Unit, ...]:
        """Distinct columns each; columns of no unit choose the base network."""
        ...

    @property
    def mildest(self) -> Genes:
        """`(n_var,)` the row that changes the network least; every variable is at one of its ends."""
        ...


def base_columns(space: UnitSpace) -> tuple[int, ...]:
    """The columns that belong to no unit."""
    taken = {column for unit in space.units for column in unit.columns}
    return tuple(column for column in range(len(space.lower)) if column not in taken)


def base_rows(space: UnitSpace) -> Genes:
    """`(k, n_var)` the mildest row on each base network; the mildest of them first."""
    columns = base_columns(space)
    rows = []
    for values in product(*(severities(space, column).tolist() for column in columns)):
        row = space.mildest.copy()
        row[list(columns)] = values
        rows.append(row)
    return np.array(rows, np.int64)


def severities(space: UnitSpace, column: int) -> NDArray[np.int64]:
    """The values of a variable, the mildest first."""
    values = np.arange(int(space.lower[column]), int(space.upper[column]) + 1)
    return values if space.mildest[column] == values[0] else values[::-1].copy()


def canonical(space: Space, X: Genes) -> Genes:
    """Rows with the same plans, each plan's the same: what tells rows apart that mean different things."""
    rows = [space.row(space.plan(row)) for row in X]
    return np.array(rows, np.int64).reshape(X.shape)


def unit_choices(space: UnitSpace, unit: Unit) -> Iterator[tuple[int, ...]]:
    """Every combination of values of a unit's variables, as positions among their `severities`; all mildest first."""
    return product(*(range(len(severities(space, column))) for column in unit.columns))
