"""Everything a search evaluated, in order, and the front among it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hwloop.pareto import non_dominated
from hwloop.search.objectives import Budget, Objective, to_f, to_g

Metrics = Mapping[str, float]


@dataclass(frozen=True)
class Evaluation:
    """One candidate and its numbers.

    Attributes:
        x: the genotype.
        metrics: by name: `accuracy`, `energy_pj`, `cycles`, `edp`, `size_bits`, `macs`; those of the hardware are missing where
            no mapping fits.
    """

    x: tuple[int, ...]
    metrics: Metrics


def front(evaluations: Iterable[Evaluation], objectives: Sequence[Objective], budgets: Sequence[Budget]) -> list[Evaluation]:
    """The feasible evaluations that no other feasible one dominates, by rising first objective, then the second, ...

    Of candidates equal in every objective the first evaluated stays.
    """
    entries = list(evaluations)
    if not entries:
        return []
    metrics = [entry.metrics for entry in entries]
    feasible = np.flatnonzero((to_g(metrics, budgets) <= 0).all(axis=1))
    if not len(feasible):
        return []
    F = to_f([metrics[i] for i in feasible], objectives)
    chosen: dict[tuple[float, ...], int] = {}
    for row, i in zip(F[non_dominated(F)], feasible[non_dominated(F)], strict=True):
        chosen.setdefault(tuple(row.tolist()), int(i))
    return [entries[i] for _, i in sorted(chosen.items())]


def nearest_to_feasible(evaluations: Iterable[Evaluation], budgets: Sequence[Budget]) -> Evaluation | None:
    """The evaluation that misses the budgets by the least, None when there are no evaluations."""
    entries = list(evaluations)
    if not entries:
        return None
    violation = np.maximum(to_g([entry.metrics for entry in entries], budgets), 0).sum(axis=1)
    return entries[int(np.argmin(violation))]
