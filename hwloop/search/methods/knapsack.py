"""The knapsack: a front from single layers' damages and costs alone, each combination checked but none searched for.

As in HAWQ-V3 (Yao et al., ICML 2021) and SPDY (Frantar and Alistarh, ICML 2022): what each layer's pruning and bits do to the
network is measured with that layer alone compressed, and added up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hwloop.errors import SpecError
from hwloop.search.paths import cost_metrics, explore, measure_bases, path, weightings
from hwloop.search.records import front
from hwloop.search.space import Space
from hwloop.search.study import Study
from hwloop.search.units import UnitSpace


@dataclass(frozen=True)
class Knapsack:
    """Measures damages, sweeps the knapsack on a few base networks, evaluates where the front may still gain.

    Attributes:
        evaluations: candidates to evaluate.
        batch: candidates evaluated at a time.
        images: training images for each damage; less where the budget's images would not last.
        bases: base networks that are measured, spread over the library.
    """

    name: ClassVar[str] = "knapsack"
    evaluations: int = 80
    batch: int = 4
    images: int = 128
    bases: int = 3

    def __post_init__(self) -> None:
        for name in ("evaluations", "batch", "images", "bases"):
            if getattr(self, name) < 1:
                raise SpecError("<arguments>", f"method option {name}", "1 or more", getattr(self, name))

    def expected(self) -> int:
        """Candidates that it asks for."""
        return self.evaluations

    def run(self, study: Study, space: Space) -> None:
        """Measures and evaluates.

        Raises:
            SpecError: a space whose variables belong to no layers.
        """
        if not isinstance(space, UnitSpace):
            expected = "a space that says which variables belong to a layer (`units`)"
            raise SpecError("<arguments>", "method knapsack", expected, space.name)
        tables = measure_bases(study, space, self.bases, self.images)
        paths = [path(each, weights) for weights in weightings(cost_metrics(study.objectives, study.budgets)) for each in tables]

        def on_batch() -> None:
            study.step(front(study.records, study.objectives, ()))

        explore(study, space, paths, self.evaluations, self.batch, on_batch)
