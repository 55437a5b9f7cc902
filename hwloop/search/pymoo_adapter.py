"""The one adapter to pymoo: the problem, the operators and NSGA-II as it wants them."""

from __future__ import annotations

from typing import Any

import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.crossover import Crossover
from pymoo.core.mutation import Mutation
from pymoo.core.problem import Problem
from pymoo.core.sampling import Sampling
from pymoo.operators.survival.rank_and_crowding import RankAndCrowding
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from hwloop.search.integer import IntegerProblem
from hwloop.search.operators import Genes, Groups, integer_sbx, mutate, sample


class PymooProblem(Problem):  # type: ignore[misc]
    """An `IntegerProblem` as pymoo sees it; whole populations at a time."""

    def __init__(self, problem: IntegerProblem) -> None:
        super().__init__(
            n_var=len(problem.lower),
            n_obj=problem.n_obj,
            n_ieq_constr=problem.n_constr,
            xl=problem.lower,
            xu=problem.upper,
            vtype=int,
        )
        self.wrapped = problem

    def _evaluate(self, X: Any, out: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        out["F"], out["G"] = self.wrapped.evaluate(np.asarray(X).astype(np.int64), race=True)


class AnchoredSampling(Sampling):  # type: ignore[misc]
    """`sample` for pymoo."""

    def __init__(self, anchors: Genes, groups: Groups, seed: int) -> None:
        super().__init__()
        self.anchors, self.groups, self.rng = anchors, groups, np.random.default_rng(seed)

    def _do(self, problem: Any, n_samples: int, *args: Any, **kwargs: Any) -> Genes:
        return sample(n_samples, problem.xl, problem.xu, self.groups, self.anchors, self.rng)


class IntegerCrossover(Crossover):  # type: ignore[misc]
    """`integer_sbx` for pymoo."""

    def __init__(self, seed: int, eta: float = 8.0, exchange: float = 0.5) -> None:
        super().__init__(n_parents=2, n_offsprings=2, prob=0.9)
        self.eta, self.exchange, self.rng = eta, exchange, np.random.default_rng(seed)

    def _do(self, problem: Any, X: Genes, *args: Any, **kwargs: Any) -> Genes:
        return integer_sbx(X, problem.xl, problem.xu, self.eta, self.exchange, self.rng)


class GroupMutation(Mutation):  # type: ignore[misc]
    """`mutate` for pymoo."""

    def __init__(self, groups: Groups, seed: int, rate: float = 1.0, shift: float = 0.15) -> None:
        super().__init__(prob=1.0)
        self.groups, self.rate, self.shift, self.rng = groups, rate, shift, np.random.default_rng(seed)

    def _do(self, problem: Any, X: Genes, *args: Any, **kwargs: Any) -> Genes:
        return mutate(X.astype(np.int64), problem.xl, problem.xu, self.groups, self.rate, self.shift, self.rng)


class ExactSurvival(RankAndCrowding):  # type: ignore[misc]
    """Rank and crowding as if every accuracy were known exactly, though those of candidates that cannot matter are bounds.

    Whoever is in a front that survivors are taken from is known exactly before anyone is chosen. Of the rest bounds are enough:
    the true values are worse, so that they dominate nobody in those fronts either, and their own rank can only fall.
    """

    def _do(self, problem: Any, pop: Any, *args: Any, n_survive: int | None = None, **kwargs: Any) -> Any:
        exact = np.zeros(len(pop), bool)
        while True:
            fronts = NonDominatedSorting().do(pop.get("F").astype(float, copy=False), n_stop_if_ranked=n_survive)
            ranked = np.concatenate(fronts)
            missing = ranked[~exact[ranked]]
            if not len(missing):
                return super()._do(problem, pop, *args, n_survive=n_survive, **kwargs)
            F, _ = problem.wrapped.evaluate(np.asarray(pop[missing].get("X")).astype(np.int64))
            pop[missing].set("F", F)
            exact[missing] = True


def make_nsga2(
    problem: IntegerProblem, seed: int, population: int, generations: int, eta: float, exchange: float, rate: float, shift: float
) -> Any:
    """pymoo's NSGA-II, set up: `has_next()`, `next()`, `pop`; the arguments are those of `hwloop.search.methods.nsga2.Nsga2`."""
    seeds = np.random.SeedSequence(seed).generate_state(4).tolist()
    algorithm = NSGA2(
        pop_size=population,
        sampling=AnchoredSampling(problem.anchors, problem.groups, seeds[0]),
        crossover=IntegerCrossover(seeds[1], eta, exchange),
        mutation=GroupMutation(problem.groups, seeds[2], rate, shift),
        survival=ExactSurvival(),
        eliminate_duplicates=True,
    )
    algorithm.setup(PymooProblem(problem), termination=("n_gen", generations), seed=seeds[3], verbose=False)
    return algorithm
