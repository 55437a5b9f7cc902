"""Tables of what each choice of each unit damages and saves, with all other units at their mildest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hwloop.search.knapsack import Picks, totals
from hwloop.search.space import Genes
from hwloop.search.units import UnitSpace, base_columns, severities

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class UnitTables:
    """The choices of one base network.

    Attributes:
        space: where they come from.
        start: `(n_var,)` the base, everything else at its mildest.
        choices: by unit `(k, columns)` values; the first is the mildest.
        damages: by unit `(k,)` divergence from `start`, 0 for the first.
        costs: by metric and unit `(k,)` change against the first; infinite where no mapping fits.
        base_costs: by metric: of `start`, about.
    """

    space: UnitSpace
    start: Genes
    choices: Sequence[Genes]
    damages: Sequence[Floats]
    costs: Mapping[str, Sequence[Floats]]
    base_costs: Mapping[str, float]

    def chosen(self, at: int, choice: int, row: Genes | None = None) -> Genes:
        """`(n_var,)` a row, `start` when None, with one choice of one unit."""
        row = (self.start if row is None else row).copy()
        row[list(self.space.units[at].columns)] = self.choices[at][choice]
        return row

    def rows(self, picks: Picks) -> Genes:
        """`(n, n_var)` rows of `(n, units)` choices on this base."""
        X = np.repeat(self.start[None], len(picks), axis=0)
        for at, unit in enumerate(self.space.units):
            X[:, list(unit.columns)] = self.choices[at][picks[:, at]]
        return X

    def picks(self, X: Genes) -> Picks:
        """`(n, units)` choices of `(n, n_var)` rows, on whatever base."""
        out = np.zeros((len(X), len(self.choices)), np.int64)
        for at, (unit, sizes) in enumerate(zip(self.space.units, self._sizes, strict=True)):
            positions = [np.abs(X[:, column] - self.start[column]) for column in unit.columns]  # severities are steps of 1
            out[:, at] = np.ravel_multi_index(positions, sizes)
        return out

    def on_base(self, X: Genes) -> Genes:
        """The same rows on this base."""
        out, columns = X.copy(), list(base_columns(self.space))
        out[:, columns] = self.start[columns]
        return out

    def damage(self, picks: Picks) -> Floats:
        """`(n,)` sums of damages."""
        return totals(self.damages, picks)

    def cost(self, metric: str, picks: Picks) -> Floats:
        """`(n,)` of a metric that adds up, or of their product (`edp`)."""
        if metric == "edp":
            return self.cost("energy_pj", picks) * self.cost("cycles", picks)
        return self.base_costs[metric] + totals(self.costs[metric], picks)

    def weighted(self, weights: Mapping[str, float]) -> list[Floats]:
        """By unit `(k,)`: the changes of metrics as parts of the base's, weighted; of a product, of its factors."""
        parts: dict[str, float] = {}
        for name, weight in weights.items():
            for metric in additive(name):
                parts[metric] = parts.get(metric, 0.0) + weight / self.base_costs[metric]
        every = range(len(self.choices))
        return [np.sum([weight * self.costs[metric][at] for metric, weight in parts.items()], axis=0) for at in every]

    @cached_property
    def _sizes(self) -> list[tuple[int, ...]]:
        return [tuple(len(severities(self.space, column)) for column in unit.columns) for unit in self.space.units]


def additive(metric: str) -> tuple[str, ...]:
    """The metrics that add up over layers which a metric is made of."""
    return ("energy_pj", "cycles") if metric == "edp" else (metric,)
