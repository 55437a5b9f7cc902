"""What is known of an evaluated candidate, and the front among many."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hwloop.pareto import non_dominated
from hwloop.search.objectives import AT_MOST, Budget, Objective, to_f, to_g
from hwloop.spec.plan import Plan

Metrics = Mapping[str, float]


@dataclass(frozen=True)
class LayerRecord:
    """One layer's part of a candidate's cost.

    Attributes:
        name: the layer as it runs (`PlannedLayer.name`).
        energy_pj: its energy.
        cycles: its time.
    """

    name: str
    energy_pj: float
    cycles: int


@dataclass(frozen=True)
class Record:
    """One candidate and its numbers.

    Attributes:
        plan: what was asked for.
        metrics: by name: `accuracy`, `energy_pj`, `cycles`, `edp`, `size_bits`, `macs`; those of the hardware are missing where
            no mapping fits. `accuracy_at_most` in place of `accuracy`: it is dominated, see `hwloop.search.racing`.
        layers: what each layer costs, in execution order; empty where no mapping fits.
        how: where its weights come from: empty for those of the plan alone, else the training or the method that made them.
    """

    plan: Plan
    metrics: Metrics
    layers: tuple[LayerRecord, ...] = ()
    how: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """What tells candidates apart."""
        return (self.plan.key, self.how)


def is_exact(metrics: Metrics) -> bool:
    """Whether the accuracy is known, not a bound alone."""
    return AT_MOST not in metrics


def front(records: Iterable[Record], objectives: Sequence[Objective], budgets: Sequence[Budget]) -> list[Record]:
    """The feasible records that no other feasible one dominates, by rising first objective, then the second, ...

    Of candidates equal in every objective the first evaluated stays.
    """
    entries = [record for record in records if is_exact(record.metrics)]
    if not entries:
        return []
    metrics = [entry.metrics for entry in entries]
    feasible = np.flatnonzero((to_g(metrics, budgets) <= 0).all(axis=1))
    if not len(feasible):
        return []
    F = to_f([metrics[i] for i in feasible], objectives)
    best = non_dominated(F)
    chosen: dict[tuple[float, ...], int] = {}
    for row, i in zip(F[best], feasible[best], strict=True):
        chosen.setdefault(tuple(row.tolist()), int(i))
    return [entries[i] for _, i in sorted(chosen.items())]


def nearest_to_feasible(records: Iterable[Record], budgets: Sequence[Budget]) -> Record | None:
    """The record that misses the budgets by the least, None when there are no records."""
    entries = list(records)
    if not entries:
        return None
    violation = np.maximum(to_g([entry.metrics for entry in entries], budgets), 0).sum(axis=1)
    return entries[int(np.argmin(violation))]
