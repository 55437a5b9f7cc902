"""The multiple-choice knapsack: of each unit one choice, so that the sum of damages is small for the sum of costs. Pure arrays.

The Lagrangian sweep (Everett, "Generalized Lagrange Multiplier Method", Operations Research 11(3), 1963; Sinha and Zoltners, "The
Multiple-Choice Knapsack Problem", Operations Research 27(3), 1979): for one price of damage each unit chooses for itself, and as
the price falls from infinity to 0 one unit after the other moves on to its next choice on the lower convex hull of (cost,
damage). Each combination on the way has the least damage of all combinations that cost no more.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Picks = NDArray[np.int64]


def hull(costs: Floats, damages: Floats) -> Picks:
    """The lower left convex hull of a unit's choices, the least damage first: each costs less and damages more than the last.

    Args:
        costs: `(k,)`; choices whose cost is not finite are left out, unless there are no others.
        damages: `(k,)`, at least 0, finite.

    Returns:
        Positions, at least one.
    """
    chain: list[int] = []
    fits = np.isfinite(costs) if np.isfinite(costs).any() else np.ones(len(costs), bool)
    for i in np.lexsort((costs, damages)).tolist():
        if not fits[i] or (chain and not costs[i] < costs[chain[-1]]):
            continue
        while len(chain) >= 2 and _slope(chain[-2], chain[-1], costs, damages) >= _slope(chain[-1], i, costs, damages):
            chain.pop()
        chain.append(i)
    return np.array(chain, np.int64)


def sweep(costs: Sequence[Floats], damages: Sequence[Floats]) -> Picks:
    """`(steps, units)` choices along the sweep, from the least damage to the least cost.

    Args:
        costs: by unit `(k,)`.
        damages: by unit `(k,)`.
    """
    hulls = [hull(cost, damage) for cost, damage in zip(costs, damages, strict=True)]
    moves = []
    for unit, chain in enumerate(hulls):
        for at, (i, j) in enumerate(zip(chain[:-1].tolist(), chain[1:].tolist(), strict=True)):
            moves.append((_slope(i, j, costs[unit], damages[unit]), unit, at))
    picks = np.array([chain[0] for chain in hulls], np.int64)
    path = [picks.copy()]
    for _, unit, at in sorted(moves):
        picks[unit] = hulls[unit][at + 1]
        path.append(picks.copy())
    return np.array(path)


def totals(tables: Sequence[Floats], picks: Picks) -> Floats:
    """`(n,)` sums over the units of what `(n, units)` choices have in their tables."""
    parts = [table[picks[:, unit]] for unit, table in enumerate(tables)]
    return np.sum(parts, axis=0) if parts else np.zeros(len(picks))


def _slope(i: int, j: int, costs: Floats, damages: Floats) -> float:
    """Damage taken for each cost saved on the way from i to j."""
    return float((damages[j] - damages[i]) / (costs[i] - costs[j]))
