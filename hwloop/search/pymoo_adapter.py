"""The one adapter to pymoo: the problem, the operators, NSGA-II and NSGA-III as it wants them."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb
from typing import Any

import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.algorithms.moo.nsga3 import NSGA3
from pymoo.core.crossover import Crossover
from pymoo.core.duplicate import DefaultDuplicateElimination
from pymoo.core.mating import Mating
from pymoo.core.mutation import Mutation
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.core.repair import Repair
from pymoo.core.sampling import Sampling
from pymoo.operators.survival.rank_and_crowding import RankAndCrowding
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting
from pymoo.util.ref_dirs import get_reference_directions

from hwloop.search.guide import Guide
from hwloop.search.integer import IntegerProblem
from hwloop.search.operators import Genes, Groups, integer_sbx, mutate, sample
from hwloop.search.proposals import unit_crossover
from hwloop.search.seams import Floats
from hwloop.search.units import UnitSpace, base_columns, canonical


class PymooProblem(Problem):  # type: ignore[misc]
    """An `IntegerProblem` as pymoo sees it; whole populations at a time."""

    def __init__(self, problem: IntegerProblem, race: bool = False) -> None:
        super().__init__(
            n_var=len(problem.lower),
            n_obj=problem.n_obj,
            n_ieq_constr=problem.n_constr,
            xl=problem.lower,
            xu=problem.upper,
            vtype=int,
        )
        self.wrapped, self.race = problem, race

    def _evaluate(self, X: Any, out: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        out["F"], out["G"] = self.wrapped.evaluate(np.asarray(X).astype(np.int64), race=self.race)


class AnchoredSampling(Sampling):  # type: ignore[misc]
    """The seeds, then `sample` for pymoo."""

    def __init__(self, seeds: Genes, anchors: Genes, groups: Groups, seed: int) -> None:
        super().__init__()
        self.seeds, self.anchors, self.groups, self.rng = seeds, anchors, groups, np.random.default_rng(seed)

    def _do(self, problem: Any, n_samples: int, *args: Any, **kwargs: Any) -> Genes:
        rest = n_samples - len(self.seeds)
        if rest <= 0:
            return self.seeds[:n_samples]
        return np.vstack([self.seeds, sample(rest, problem.xl, problem.xu, self.groups, self.anchors, self.rng)])


class IntegerCrossover(Crossover):  # type: ignore[misc]
    """`integer_sbx` for pymoo, or `unit_crossover` of as many matings as are proposed."""

    def __init__(self, seed: int, eta: float = 8.0, exchange: float = 0.5, proposals: float = 0.0, space: Any = None) -> None:
        super().__init__(n_parents=2, n_offsprings=2, prob=0.9)
        self.eta, self.exchange, self.rng = eta, exchange, np.random.default_rng(seed)
        self.proposals = proposals if isinstance(space, UnitSpace) else 0.0
        self.space = space

    def _do(self, problem: Any, X: Genes, *args: Any, **kwargs: Any) -> Genes:
        mixed = integer_sbx(X, problem.xl, problem.xu, self.eta, self.exchange, self.rng)
        if not self.proposals:
            return mixed
        units, rest = [unit.columns for unit in self.space.units], base_columns(self.space)
        children = np.stack([unit_crossover(pair.astype(np.int64), units, rest, self.rng) for pair in (X, X[::-1])])
        return np.where(self.rng.random((1, X.shape[1], 1)) < self.proposals, children, mixed)


class GroupMutation(Mutation):  # type: ignore[misc]
    """`mutate` for pymoo, or a move along the tables of as many children as are proposed."""

    def __init__(
        self,
        groups: Groups,
        seed: int,
        rate: float = 1.0,
        shift: float = 0.15,
        proposals: float = 0.0,
        guide: Guide | None = None,
    ) -> None:
        super().__init__(prob=1.0)
        self.groups, self.rate, self.shift, self.rng = groups, rate, shift, np.random.default_rng(seed)
        self.proposals, self.guide = proposals, guide

    def _do(self, problem: Any, X: Genes, *args: Any, **kwargs: Any) -> Genes:
        X = X.astype(np.int64)
        out = mutate(X, problem.xl, problem.xu, self.groups, self.rate, self.shift, self.rng)
        if self.guide is not None and self.proposals:
            moved = np.flatnonzero(self.rng.random(len(X)) < self.proposals)
            out[moved] = self.guide.proposer.move(X[moved], self.rng)
        return out


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


class CanonicalRows(Repair):  # type: ignore[misc]
    """One row a plan, so that rows that mean the same are equal."""

    def _do(self, problem: Any, X: Genes, **kwargs: Any) -> Genes:
        return canonical(problem.wrapped.space, np.asarray(X).astype(np.int64))


class NewRows(DefaultDuplicateElimination):  # type: ignore[misc]
    """No row twice, not even one that was evaluated and has died out."""

    def __init__(self, problem: IntegerProblem) -> None:
        super().__init__()
        self.problem = problem

    def do(self, pop: Any, *args: Any, to_itself: bool = True) -> Any:
        """`pop` without rows that are in it before, in one of `args`, or were evaluated."""
        left = super().do(pop, *args, to_itself=to_itself)
        new = [i for i, row in enumerate(left.get("X")) if tuple(row.tolist()) not in self.problem.evaluated]
        return left[new]


class FilteredMating(Mating):  # type: ignore[misc]
    """Draws several children for each one wanted and keeps those that the tables expect most of, and a quarter at random."""

    def __init__(self, drawn: int, guide: Guide | None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.drawn, self.guide = 1 if guide is None else drawn, guide

    def do(self, problem: Any, pop: Any, n_offsprings: int, **kwargs: Any) -> Any:
        """`n_offsprings` new children, fewer where the space runs out."""
        children = super().do(problem, pop, n_offsprings * self.drawn, **kwargs)
        if self.guide is None or len(children) <= n_offsprings:
            return children
        F, G = self.guide.predictor.predict(np.asarray(children.get("X"), np.int64))
        parents = Population.new(X=pop.get("X"), F=pop.get("F"), G=pop.get("G"))
        expected = Population.new(X=children.get("X"), F=F, G=G)
        RankAndCrowding().do(problem, Population.merge(parents, expected), n_survive=len(parents) + len(expected))
        chance = n_offsprings // 4
        order = sorted(range(chance, len(expected)), key=lambda i: _worth(expected[i]))
        return children[[*range(chance), *order[: n_offsprings - chance]]]


def _worth(individual: Any) -> tuple[float, float, float]:
    """Smaller is better: violation, rank, how crowded."""
    violation = float(individual.CV[0])
    if violation > 0:
        return violation, 0.0, 0.0
    return 0.0, float(individual.get("rank")), -float(individual.get("crowding"))


def make_algorithm(problem: IntegerProblem, settings: Any, guide: Guide | None, directions: Floats | None = None) -> Any:
    """pymoo's NSGA-II or NSGA-III, set up: `has_next()`, `next()`, `pop`.

    Args:
        problem: what is searched.
        settings: a `hwloop.search.methods.nsga2.Nsga2`.
        guide: help of the tables, where there is any.
        directions: `(n, n_obj)` reference directions of NSGA-III, at most as many as the population; NSGA-II when None.
    """
    seeds = np.random.SeedSequence(problem.study.seed).generate_state(4).tolist()
    rows = np.zeros((0, len(problem.lower)), np.int64) if guide is None else guide.seeds
    proposals = 0.0 if guide is None else settings.proposals
    operators = {
        "crossover": IntegerCrossover(seeds[1], settings.eta, settings.exchange, proposals, problem.space),
        "mutation": GroupMutation(problem.groups, seeds[2], settings.rate, settings.shift, proposals, guide),
    }
    common = {
        **operators,
        "pop_size": settings.population,
        "sampling": AnchoredSampling(rows, problem.anchors, problem.groups, seeds[0]),
        "repair": CanonicalRows(),
        "eliminate_duplicates": True,
    }
    algorithm = NSGA2(survival=ExactSurvival(), **common) if directions is None else NSGA3(directions, **common)
    selection = algorithm.mating.selection
    algorithm.mating = FilteredMating(
        settings.drawn, guide, selection=selection, **operators, repair=CanonicalRows(), eliminate_duplicates=NewRows(problem)
    )
    learns = guide is not None and settings.drawn > 1  # the filter learns from accuracies, which must be known then
    seen = PymooProblem(problem, race=directions is None and not learns)
    algorithm.setup(seen, termination=("n_gen", settings.generations), seed=seeds[3], verbose=False)
    return algorithm


def reference_directions(objectives: int, most: int, weights: Sequence[float] | None = None) -> Floats:
    """`(n, objectives)` directions for NSGA-III, even over the simplex (Das and Dennis, 1998), at most `most` of them.

    Args:
        objectives: how many.
        most: of directions.
        weights: draws all directions half-way to where each objective's distance from its best is in inverse proportion to its
            weight, as `pareto.preferred` weighs them.
    """
    parts = 1
    while comb(objectives + parts, parts + 1) <= most:
        parts += 1
    directions: Floats = get_reference_directions("das-dennis", objectives, n_partitions=parts)
    if weights is None:
        return directions
    aim = 1 / np.maximum(np.asarray(weights, np.float64) / max(weights), 1e-3)
    return np.unique(((directions + aim / aim.sum()) / 2).round(12), axis=0)
