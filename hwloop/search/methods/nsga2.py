"""NSGA-II (Deb, Pratap, Agarwal, Meyarivan, 2002) over whole numbers, by pymoo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hwloop.errors import SpecError
from hwloop.search.integer import IntegerProblem
from hwloop.search.space import Space
from hwloop.search.study import Study


@dataclass(frozen=True)
class Nsga2:
    """Non-dominated sorting with crowding; integer SBX, group mutation, anchored sampling; no candidate twice.

    Attributes:
        population: candidates held at a time.
        generations: how often the population is renewed, the first included.
        eta: distribution index of the crossover.
        exchange: share of the variables that a crossover mixes.
        rate: variables of each group that a mutation steps, on average.
        shift: probability that a mutation moves a whole group by one.
    """

    name: ClassVar[str] = "nsga2"
    population: int = 40
    generations: int = 25
    eta: float = 8.0
    exchange: float = 0.5
    rate: float = 1.0
    shift: float = 0.15

    def __post_init__(self) -> None:
        checks = (
            ("population", self.population >= 4, "4 or more", self.population),
            ("generations", self.generations >= 1, "1 or more", self.generations),
            ("eta", self.eta >= 0, "0 or more", self.eta),
            ("exchange", 0 <= self.exchange <= 1, "from 0 to 1", self.exchange),
            ("rate", self.rate >= 0, "0 or more", self.rate),
            ("shift", 0 <= self.shift <= 1, "from 0 to 1", self.shift),
        )
        for name, good, expected, found in checks:
            if not good:
                raise SpecError("<arguments>", f"method option {name}", expected, found)

    def expected(self) -> int:
        """Candidates that it asks for."""
        return self.population * self.generations

    def run(self, study: Study, space: Space) -> None:
        """Evaluates `population * generations` candidates (fewer when the space or the budget runs out)."""
        from hwloop.search.pymoo_adapter import make_nsga2  # loads pymoo, which the settings alone do not need

        problem = IntegerProblem(study, space)
        algorithm = make_nsga2(
            problem, study.seed, self.population, self.generations, self.eta, self.exchange, self.rate, self.shift
        )
        while algorithm.has_next():
            algorithm.next()
            if algorithm.pop is not None:
                study.step(problem.records(np.asarray(algorithm.pop.get("X"), np.int64)), self.generations)
