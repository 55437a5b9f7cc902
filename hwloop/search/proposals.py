"""Children that the tables of single layers' damages and costs propose, and what they are expected to be."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from hwloop.search.knapsack import Picks, sweep, totals
from hwloop.search.space import Genes
from hwloop.search.unit_tables import Floats, UnitTables
from hwloop.search.units import base_columns

Rng = np.random.Generator
_Move = Callable[[int, Picks, list[Floats], Rng], Picks]
_SPREADS = (0.1, 1.0)  # of the logarithms by which damages are weighed anew
_RANK = 0.35  # of the geometric draw among moves by their worth


def unit_crossover(parents: Genes, units: Sequence[Sequence[int]], rest: Sequence[int], rng: Rng) -> Genes:
    """Children that take each unit whole from one of two parents, and the base from one of them.

    Args:
        parents: `(2, n, n_var)`.
        units: columns of each unit.
        rest: the other columns.
        rng: source of the draws.

    Returns:
        `(n, n_var)`.
    """
    child: Genes = parents[0].copy()
    share = rng.random((parents.shape[1], 1))  # of the second parent: all, none or some
    for columns in (*units, *([rest] if rest else [])):
        taken = rng.random((parents.shape[1], 1)) < share
        child[:, list(columns)] = np.where(taken, parents[1][:, list(columns)], child[:, list(columns)])
    return child


class Proposer:
    """Moves rows along what the tables say.

    Args:
        tables: of some base networks; a row on another base is moved by those of the nearest.
        weightings: of the costs; each move draws one.
    """

    def __init__(self, tables: Sequence[UnitTables], weightings: Sequence[dict[str, float]]) -> None:
        self._tables, self.space = list(tables), tables[0].space
        self._costs = [[table.weighted(weights) for weights in weightings] for table in tables]
        self._columns = list(base_columns(self.space))
        self._moves: tuple[_Move, ...] = (self._cheapen, self._swap, self._anew, self._anew)

    def nearest(self, X: Genes) -> Picks:
        """`(n,)` which table serves each row."""
        starts = np.array([table.start[self._columns] for table in self._tables])
        nearest: Picks = np.abs(X[:, None, self._columns] - starts[None]).sum(axis=2).argmin(axis=1)
        return nearest

    def move(self, X: Genes, rng: Rng) -> Genes:
        """`(n, n_var)` rows, each moved by one of:

        - one or two units to a choice that costs less, the sooner the less damage they take for it;
        - the same, and then one to a choice that damages less, the sooner the more damage it takes back for its cost;
        - all units to the knapsack's answer at about the same cost, damages weighed anew by random factors (as SPDY searches,
          Frantar and Alistarh, ICML 2022).
        """
        out = X.copy()
        for i, at in enumerate(self.nearest(X).tolist()):
            table = self._tables[at]
            costs = self._costs[at][rng.integers(len(self._costs[at]))]
            picks = self._moves[rng.integers(len(self._moves))](at, table.picks(X[i : i + 1])[0], costs, rng)
            moved = table.rows(picks[None])[0]
            moved[self._columns] = X[i, self._columns]
            out[i] = moved
        return out

    def expected(self, X: Genes) -> tuple[Picks, Floats]:
        """`(n,)` which table serves each row, and the damage it is expected to do to that base."""
        at = self.nearest(X)
        damage = np.zeros(len(X))
        for number in set(at.tolist()):
            rows = at == number
            damage[rows] = self._tables[number].damage(self._tables[number].picks(X[rows]))
        return at, damage

    def cost(self, metric: str, X: Genes) -> Floats:
        """`(n,)` of a metric, as it is expected."""
        at = self.nearest(X)
        out = np.zeros(len(X))
        for number in set(at.tolist()):
            rows = at == number
            out[rows] = self._tables[number].cost(metric, self._tables[number].picks(X[rows]))
        return out

    def _cheapen(self, at: int, picks: Picks, costs: list[Floats], rng: Rng) -> Picks:
        for _ in range(int(rng.integers(1, 3))):
            picks = _step(picks, costs, self._tables[at].damages, rng)
        return picks

    def _swap(self, at: int, picks: Picks, costs: list[Floats], rng: Rng) -> Picks:
        damages = self._tables[at].damages
        for _ in range(int(rng.integers(1, 3))):
            picks = _step(_step(picks, costs, damages, rng), damages, costs, rng)  # restoring is cheapening, with both exchanged
        return picks

    def _anew(self, at: int, picks: Picks, costs: list[Floats], rng: Rng) -> Picks:
        damages = self._tables[at].damages
        spread = rng.uniform(*_SPREADS)
        path = sweep(costs, [damage * np.exp(spread * rng.normal()) for damage in damages])
        base = 1.0 + totals(costs, picks[None])[0]
        wanted = max(base, 0.0) * np.exp(0.15 * rng.normal()) - 1.0
        found: Picks = path[int(np.abs(totals(costs, path) - wanted).argmin())]
        return found


def _step(picks: Picks, gains: Sequence[Floats], prices: Sequence[Floats], rng: Rng) -> Picks:
    """One unit moves to a choice with less of `gains`, drawn by its rank in `prices` taken for each of `gains` saved.

    Of each unit the one or two best choices take part.
    """
    moves: list[tuple[float, int, int]] = []
    for unit, at in enumerate(picks.tolist()):
        saved, price = gains[unit][at] - gains[unit], prices[unit] - prices[unit][at]
        less = np.flatnonzero(saved > 0)
        worth = price[less] / saved[less]
        moves += [(float(worth[i]), unit, int(less[i])) for i in np.argsort(worth, kind="stable")[:2]]
    if not moves:
        return picks
    _, unit, choice = sorted(moves)[min(int(rng.geometric(_RANK)) - 1, len(moves) - 1)]
    out = picks.copy()
    out[unit] = choice
    return out
