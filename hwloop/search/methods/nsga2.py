"""NSGA-II (Deb, Pratap, Agarwal, Meyarivan, 2002) over whole numbers, by pymoo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hwloop.errors import SpecError
from hwloop.search.guide import make_guide
from hwloop.search.integer import IntegerProblem
from hwloop.search.seams import Floats
from hwloop.search.space import Space
from hwloop.search.study import Study


@dataclass(frozen=True)
class Nsga2:
    """Non-dominated sorting with crowding; integer SBX, group mutation, anchored sampling; no candidate twice.

    Where the space says which variables belong to a layer (`units`), damages and costs of single layers can help: the first
    candidates come from the knapsack over them, children are moved along them, and those that they expect little of are dropped.

    Attributes:
        population: candidates held at a time.
        generations: how often the population is renewed, the first included.
        eta: distribution index of the crossover.
        exchange: share of the variables that a crossover mixes.
        rate: variables of each group that a mutation steps, on average.
        shift: probability that a mutation moves a whole group by one.
        seeds: share of the first population that comes from the knapsack.
        proposals: share of the children that are crossed layer by layer, and share that the tables move.
        drawn: children drawn for each one that is evaluated.
        images: training images for each damage; less where the budget's images would not last.
        bases: base networks that are measured, spread over the library.
    """

    name: ClassVar[str] = "nsga2"
    population: int = 40
    generations: int = 25
    eta: float = 8.0
    exchange: float = 0.5
    rate: float = 1.0
    shift: float = 0.15
    seeds: float = 0.5
    proposals: float = 0.5
    drawn: int = 4
    images: int = 128
    bases: int = 3

    def __post_init__(self) -> None:
        checks = (
            ("population", self.population >= 4, "4 or more", self.population),
            ("generations", self.generations >= 1, "1 or more", self.generations),
            ("eta", self.eta >= 0, "0 or more", self.eta),
            ("exchange", 0 <= self.exchange <= 1, "from 0 to 1", self.exchange),
            ("rate", self.rate >= 0, "0 or more", self.rate),
            ("shift", 0 <= self.shift <= 1, "from 0 to 1", self.shift),
            ("seeds", 0 <= self.seeds <= 1, "from 0 to 1", self.seeds),
            ("proposals", 0 <= self.proposals <= 1, "from 0 to 1", self.proposals),
            ("drawn", self.drawn >= 1, "1 or more", self.drawn),
            ("images", self.images >= 1, "1 or more", self.images),
            ("bases", self.bases >= 1, "1 or more", self.bases),
        )
        for name, good, expected, found in checks:
            if not good:
                raise SpecError("<arguments>", f"method option {name}", expected, found)

    def expected(self) -> int:
        """Candidates that it asks for."""
        return self.population * self.generations

    def run(self, study: Study, space: Space) -> None:
        """Evaluates `population * generations` candidates (fewer when the space or the budget runs out)."""
        from hwloop.search.pymoo_adapter import make_algorithm  # loads pymoo, which the settings alone do not need

        guided = self.seeds or self.proposals or self.drawn > 1
        guide = make_guide(study, space, round(self.seeds * self.population), self.bases, self.images) if guided else None
        problem = IntegerProblem(study, space)
        algorithm = make_algorithm(problem, self, guide, self._directions(problem))
        while algorithm.has_next():
            algorithm.next()
            if algorithm.pop is not None:
                study.step(problem.records(np.asarray(algorithm.pop.get("X"), np.int64)), self.generations)

    def _directions(self, problem: IntegerProblem) -> Floats | None:
        """Reference directions of NSGA-III; None for NSGA-II."""
        return None
