"""NSGA-II (Deb, Pratap, Agarwal, Meyarivan, 2002) over the genotype, by pymoo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2

from hwloop.search.method import OnStep, SearchBudget, SearchProblem, Step
from hwloop.search.operators import AnchoredSampling, GroupMutation, IntegerCrossover
from hwloop.search.problem import PymooProblem


@dataclass(frozen=True)
class Nsga2:
    """Non-dominated sorting with crowding; integer SBX, group mutation, anchored sampling; no candidate twice.

    Attributes:
        eta: distribution index of the crossover.
        exchange: share of the variables that a crossover mixes.
        rate: variables of each group that a mutation steps, on average.
        shift: probability that a mutation moves a whole group by one.
    """

    name: ClassVar[str] = "nsga2"
    eta: float = 8.0
    exchange: float = 0.5
    rate: float = 1.0
    shift: float = 0.15

    def run(self, problem: SearchProblem, budget: SearchBudget, seed: int, on_step: OnStep | None = None) -> None:
        """Evaluates `population * generations` candidates (fewer when the space runs out)."""
        seeds = np.random.SeedSequence(seed).generate_state(4).tolist()
        algorithm = NSGA2(
            pop_size=budget.population,
            sampling=AnchoredSampling(problem.anchors, problem.groups, seeds[0]),
            crossover=IntegerCrossover(seeds[1], self.eta, self.exchange),
            mutation=GroupMutation(problem.groups, seeds[2], self.rate, self.shift),
            eliminate_duplicates=True,
        )
        algorithm.setup(PymooProblem(problem), termination=("n_gen", budget.generations), seed=seeds[3], verbose=False)
        generation = 0
        while algorithm.has_next():
            algorithm.next()
            generation += 1
            if on_step is not None and algorithm.pop is not None:
                G = algorithm.pop.get("G") if problem.n_constr else np.zeros((len(algorithm.pop), 0))
                on_step(Step(generation, budget.generations, algorithm.pop.get("F"), G))

    def settings(self) -> Mapping[str, Any]:
        """The operators' numbers."""
        return {"name": self.name, **asdict(self)}
