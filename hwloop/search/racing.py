"""Candidates need no exact accuracy where they are dominated whatever the rest of the images would say.

`accuracy_at_most` stands in the record of such a candidate in place of `accuracy`. It is on no front; a method that needs it
all the same asks for the plan again without `race`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hwloop.search.objectives import BOUNDED, Budget, Objective, to_f, to_g
from hwloop.search.records import Metrics, is_exact
from hwloop.search.seams import Floats


def may_race(objectives: Sequence[Objective], budgets: Sequence[Budget]) -> bool:
    """Whether accuracy is a goal and bounds nothing: else a dominated candidate may still matter."""
    return any(o.metric == BOUNDED for o in objectives) and all(b.objective.metric != BOUNDED for b in budgets)


class Hopeless:
    """Says which of some candidates are dominated, whatever their accuracy still turns out to be.

    Candidates that are not feasible are left to be known: they are ranked in other ways.

    Args:
        candidates: what is known of them: everything but accuracy.
        known: metrics of other candidates.
        objectives: one of them is accuracy.
        budgets: none of them is on accuracy.
    """

    def __init__(
        self,
        candidates: Sequence[Metrics],
        known: Sequence[Metrics],
        objectives: Sequence[Objective],
        budgets: Sequence[Budget],
    ) -> None:
        others = [objective for objective in objectives if objective.metric != BOUNDED]
        exact = [metrics for metrics in known if is_exact(metrics)]
        held = to_f(exact, others)[(to_g(exact, budgets) <= 0).all(axis=1)]
        accuracies = np.array([metrics[BOUNDED] for metrics in exact], np.float64)[(to_g(exact, budgets) <= 0).all(axis=1)]
        costs = to_f(candidates, others)
        self._feasible = np.asarray((to_g(candidates, budgets) <= 0).all(axis=1))
        self._cheaper = (costs[None, :, :] <= costs[:, None, :]).all(axis=2) & self._feasible
        before = (held[None, :, :] <= costs[:, None, :]).all(axis=2)
        self._floor: Floats = np.where(before, accuracies, -np.inf).max(axis=1, initial=-np.inf)

    def __call__(self, least: Floats, most: Floats) -> NDArray[np.bool_]:
        """Of accuracies that are `least` and `most`, `(n,)` each: below what another one, no dearer in anything, has for sure."""
        beaten = np.where(self._cheaper, least, -np.inf).max(axis=1, initial=-np.inf)
        return np.asarray(self._feasible & (most < np.maximum(self._floor, beaten)), bool)
